// SPDX-License-Identifier: BSD-3-Clause
// spymemcached, in text and binary: Java CLIENT HALF PORT. The halves and what they print: ../lib/Hearth/Matrix.pm.
import java.net.InetSocketAddress;
import java.util.*;
import net.spy.memcached.*;
import net.spy.memcached.transcoders.SerializingTranscoder;

public class Java {
	static MemcachedClient c;
	static String p;

	static void tell(String feature, Object... checks)
	{
		for (int i = 0; i < checks.length; i += 3) {
			if (!String.valueOf(checks[i + 1]).equals(String.valueOf(checks[i + 2]))) {
				System.out.println(feature + "\t" + checks[i] + ": got " + checks[i + 1] + ", expected " + checks[i + 2]);
				return;
			}
		}
		System.out.println(feature + "\tok");
	}

	static boolean set(String k, Object v, int ttl) throws Exception { return c.set(p + k, ttl, v).get(); }
	static Object get(String k) { return c.get(p + k); }

	static boolean sameMany()
	{
		List<String> keys = new ArrayList<>();
		for (int i = 0; i < 500; i++)
			keys.add(p + "many" + i);
		Map<String, Object> got = c.getBulk(keys);
		for (int i = 0; i < 500; i++)
			if (!("value " + i).equals(got.get(p + "many" + i)))
				return false;
		return true;
	}

	static void store() throws Exception
	{
		tell("set", "set", set("k", "v", 0), true, "get", get("k"), "v", "miss", get("none"), null);
		tell("add", "there", c.add(p + "k", 0, "w").get(), false, "not there", c.add(p + "a", 0, "w").get(), true);
		tell("replace", "there", c.replace(p + "a", 0, "x").get(), true, "not there", c.replace(p + "none", 0, "x").get(), false);
		for (int i = 0; i < 500; i++)
			set("many" + i, "value " + i, 0);
		tell("many", "get", sameMany(), true);
		set("n", "10", 0);
		tell("count", "up", c.incr(p + "n", 5), 15, "down", c.decr(p + "n", 7), 8);
		set("s", "b", 0);
		c.append(p + "s", "c").get();
		c.prepend(p + "s", "a").get();
		tell("append", "both", get("s"), "abc");
		CASValue<Object> token = c.gets(p + "k");
		tell("cas", "once", c.cas(p + "k", token.getCas(), "v"), CASResponse.OK, "twice", c.cas(p + "k", token.getCas(), "x"),
		    CASResponse.EXISTS);
		set("t", "x", 50);
		tell("touch", "there", c.touch(p + "t", 100000).get(), true);
		set("gone", "x", 0);
		c.delete(p + "gone").get();
		tell("delete", "it", get("gone"), null);
		SerializingTranscoder plain = new SerializingTranscoder();
		plain.setCompressionThreshold(1 << 30);
		c.set(p + "big", 0, "B".repeat(700000), plain).get();
		tell("big", "get", ((String)get("big")).length(), 700000);
		set("later", "x", 100);
	}

	public static void main(String[] a) throws Exception
	{
		java.util.logging.Logger.getLogger("net.spy").setLevel(java.util.logging.Level.OFF);
		boolean binary = a[0].endsWith("binary");
		p = a[0].replaceAll("[ ,]", "") + "-";
		ConnectionFactory f = binary ? new BinaryConnectionFactory() : new DefaultConnectionFactory();
		c = new MemcachedClient(f, List.of(new InetSocketAddress("127.0.0.1", Integer.parseInt(a[2]))));
		if (a[1].equals("store"))
			store();
		else if (a[1].equals("read"))
			tell("kill -9", "get", get("k"), "v", "many", sameMany(), true, "count", c.incr(p + "n", 2), 10, "deleted", get("gone"),
			    null, "big", ((String)get("big")).length(), 700000, "later", get("later"), "x");
		else
			tell("expiry", "later", get("later"), null, "ever", get("k"), "v", "touched", get("t"), "x");
		System.exit(0);
	}
}
