# SPDX-License-Identifier: BSD-3-Clause
# The clients of Python: python.py CLIENT HALF PORT SOCKET. The halves and what they print: ../lib/Hearth/Matrix.pm.
import sys

client, half, port, path = sys.argv[1:5]
server = "127.0.0.1:" + port


def text(v):
    return v.decode() if isinstance(v, bytes) else v


class Pymemcache:
    def __init__(self):
        from pymemcache.client.base import Client
        self.c = Client(("127.0.0.1", int(port)), default_noreply=False)
        self.get, self.delete = self.c.get, self.c.delete
        self.incr, self.decr, self.touch = self.c.incr, self.c.decr, self.c.touch
        self.append, self.prepend, self.add, self.replace = self.c.append, self.c.prepend, self.c.add, self.c.replace

    def set(self, k, v, ttl=0):
        return self.c.set(k, str(v), expire=ttl)

    def set_many(self, d):
        return self.c.set_many(d) == []

    def get_many(self, ks):
        return self.c.get_many(ks)

    def cas(self, k, v):
        token = self.c.gets(k)[1]
        return self.c.cas(k, v, token) is True and self.c.cas(k, v, token) is False


class Pylibmc:
    def __init__(self):
        import pylibmc
        where = path if client == "pylibmc, UNIX socket" else server
        self.c = pylibmc.Client([where], binary=client.endswith("binary"), behaviors={"cas": True})
        self.get, self.delete = self.c.get, self.c.delete
        self.incr, self.decr, self.touch = self.c.incr, self.c.decr, self.c.touch
        self.append, self.prepend, self.add = self.c.append, self.c.prepend, self.c.add
        self.get_many = self.c.get_multi

    def set(self, k, v, ttl=0):
        return self.c.set(k, v, ttl)

    def replace(self, k, v):
        import pylibmc
        try:
            return self.c.replace(k, v)
        except pylibmc.NotFound:
            return False

    def set_many(self, d):
        return self.c.set_multi(d) == []

    def cas(self, k, v):
        token = self.c.gets(k)[1]
        return self.c.cas(k, v, token) is True and self.c.cas(k, v, token) is False


class Memcache:
    def __init__(self):
        import memcache
        self.c = memcache.Client([server], cache_cas=True)
        self.get, self.incr, self.decr, self.touch = self.c.get, self.c.incr, self.c.decr, self.c.touch
        self.append, self.prepend, self.add, self.replace = self.c.append, self.c.prepend, self.c.add, self.c.replace
        self.get_many = self.c.get_multi

    def set(self, k, v, ttl=0):
        return self.c.set(k, v, ttl)

    def delete(self, k):
        return self.c.delete(k)

    def set_many(self, d):
        return self.c.set_multi(d) == []

    def cas(self, k, v):
        self.c.gets(k)
        other = Memcache().c
        other.gets(k)
        return bool(self.c.cas(k, v)) and not other.cas(k, v)


class Bmemcached:
    def __init__(self):
        import bmemcached
        self.c = bmemcached.Client((server,))
        self.get, self.delete = self.c.get, self.c.delete
        self.incr, self.decr = self.c.incr, self.c.decr
        self.add, self.replace = self.c.add, self.c.replace
        self.append = self.prepend = self.touch = None
        self.get_many = self.c.get_multi

    def set(self, k, v, ttl=0):
        return self.c.set(k, str(v) if isinstance(v, int) else v, ttl)

    def set_many(self, d):
        return self.c.set_multi(d) == []

    def cas(self, k, v):
        token = self.c.gets(k)[1]
        return bool(self.c.cas(k, v, token)) and not self.c.cas(k, v, token)


class Django:
    def __init__(self):
        from django.conf import settings
        backend = {"Django, pymemcache": "PyMemcacheCache", "Django, pylibmc": "PyLibMCCache",
                   "Django, python-memcache": "MemcachedCache"}[client]
        settings.configure(CACHES={"default": {"BACKEND": "django.core.cache.backends.memcached." + backend,
                                               "LOCATION": server}})
        import warnings
        warnings.simplefilter("ignore")
        from django.core.cache import cache
        self.c = cache
        self.get, self.delete, self.incr, self.decr = cache.get, cache.delete, cache.incr, cache.decr
        self.add, self.touch, self.get_many = cache.add, cache.touch, cache.get_many
        self.append = self.prepend = self.cas = self.replace = None

    def set(self, k, v, ttl=0):
        self.c.set(k, v, ttl or None)
        return True

    def set_many(self, d):
        return self.c.set_many(d, None) == []


kinds = {"pymemcache": Pymemcache, "pylibmc, text": Pylibmc, "pylibmc, binary": Pylibmc, "pylibmc, UNIX socket": Pylibmc,
         "python-memcache": Memcache, "python-binary-memcached": Bmemcached}
c = kinds.get(client, Django)()
p = client.replace(" ", "").replace(",", "-") + "-"
many = {p + "many%d" % i: "value %d" % i for i in range(500)}


def tell(feature, *checks):
    for what, got, expected in checks:
        if got != expected:
            print("%s\t%s: got %r, expected %r" % (feature, what, got, expected))
            return
    print("%s\tok" % feature)


def had(feature, method):
    if method is None:
        print("%s\t-" % feature)
    return method is not None


def read_many():
    return {k: text(v) for k, v in c.get_many(list(many)).items()} == many


if half == "store":
    tell("set", ("set", bool(c.set(p + "k", "v")), True), ("get", text(c.get(p + "k")), "v"),
         ("miss", c.get(p + "none"), None))
    tell("add", ("there", bool(c.add(p + "k", "w")), False), ("not there", bool(c.add(p + "a", "w")), True))
    if had("replace", c.replace):
        tell("replace", ("there", bool(c.replace(p + "a", "x")), True), ("not there", bool(c.replace(p + "none", "x")), False))
    tell("many", ("set", c.set_many(many), True), ("get", read_many(), True))
    c.set(p + "n", 10)
    tell("count", ("up", c.incr(p + "n", 5), 15), ("down", c.decr(p + "n", 7), 8))
    if had("append", c.append):
        c.set(p + "s", "b")
        c.append(p + "s", "c")
        c.prepend(p + "s", "a")
        tell("append", ("both", text(c.get(p + "s")), "abc"))
    if had("cas", c.cas):
        tell("cas", ("once", c.cas(p + "k", "v"), True))
    if had("touch", c.touch):
        c.set(p + "t", "x", 50)
        tell("touch", ("there", bool(c.touch(p + "t", 100000)), True), ("not there", bool(c.touch(p + "none", 1)), False))
    c.set(p + "gone", "x")
    c.delete(p + "gone")
    tell("delete", ("it", c.get(p + "gone"), None))
    tell("big", ("set", bool(c.set(p + "big", "B" * 700000)), True), ("get", len(c.get(p + "big")), 700000))
    c.set(p + "later", "x", 100)
elif half == "read":
    tell("kill -9", ("get", text(c.get(p + "k")), "v"), ("many", read_many(), True), ("count", c.incr(p + "n", 2), 10),
         ("deleted", c.get(p + "gone"), None), ("big", len(c.get(p + "big")), 700000),
         ("later", text(c.get(p + "later")), "x"))
else:
    kept = [("touched", text(c.get(p + "t")), "x")] if c.touch else []
    tell("expiry", ("later", c.get(p + "later"), None), ("ever", text(c.get(p + "k")), "v"), *kept)
