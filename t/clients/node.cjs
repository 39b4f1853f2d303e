// SPDX-License-Identifier: BSD-3-Clause
// The clients of npm: node.cjs CLIENT HALF PORT; NODE_PATH holds their packages. The halves and what they print:
// ../lib/Hearth/Matrix.pm.
const { promisify } = require('util');
const [, , client, half, port] = process.argv;
const server = `127.0.0.1:${port}`;
const p = client.replace(/[ ,]/g, '') + '-';
const many = Object.fromEntries([...Array(500).keys()].map((i) => [`${p}many${i}`, `value ${i}`]));

function tell(feature, checks) {
  for (const [what, [got, expected]] of Object.entries(checks)) {
    if (JSON.stringify(got) !== JSON.stringify(expected)) {
      console.log(`${feature}\t${what}: got ${JSON.stringify(got)}, expected ${JSON.stringify(expected)}`);
      return;
    }
  }
  console.log(`${feature}\tok`);
}
const none = (feature) => console.log(`${feature}\t-`);

// Each: set(k, v, ttl), get(k), add, replace, incr, decr, del, append, prepend, touch, cas; a missing one is not had.
const kinds = {
  'npm memcached'() {
    const M = require('memcached');
    const c = new M(server);
    const call = (name) => (...args) => promisify(c[name]).apply(c, args).catch((e) => { if (e.notStored) return false; throw e; });
    return {
      set: (k, v, ttl = 0) => call('set')(k, v, ttl),
      get: (k) => call('get')(k),
      getMany: (ks) => call('getMulti')(ks),
      add: (k, v) => call('add')(k, v, 0),
      replace: (k, v) => call('replace')(k, v, 0),
      incr: call('incr'), decr: call('decr'), del: call('del'), append: call('append'), prepend: call('prepend'),
      touch: (k, ttl) => call('touch')(k, ttl),
      cas: async (k, v) => { const { cas } = await call('gets')(k); return await call('cas')(k, v, cas, 0) === true && await call('cas')(k, v, cas, 0) === false; },
      end: () => c.end(),
    };
  },
  'npm memjs'() {
    const c = require('memjs').Client.create(server);
    const text = async (k) => { const { value } = await c.get(k); return value === null ? undefined : value.toString(); };
    return {
      set: (k, v, ttl = 0) => c.set(k, String(v), { expires: ttl }),
      get: text,
      getMany: async (ks) => Object.fromEntries(await Promise.all(ks.map(async (k) => [k, await text(k)]))),
      add: (k, v) => c.add(k, v, { expires: 0 }),
      replace: (k, v) => c.replace(k, v, { expires: 0 }),
      incr: async (k, n) => (await c.increment(k, n, {})).value,
      decr: async (k, n) => (await c.decrement(k, n, {})).value,
      del: (k) => c.delete(k), append: (k, v) => c.append(k, v), prepend: (k, v) => c.prepend(k, v),
      touch: (k, ttl) => c.touch(k, ttl),
      end: () => c.quit(),
    };
  },
  'npm memcache'() {
    const { Memcache } = require('memcache');
    const c = new Memcache({ nodes: [server] });
    return {
      set: (k, v, ttl = 0) => c.set(k, String(v), ttl),
      get: (k) => c.get(k),
      getMany: async (ks) => Object.fromEntries(await c.gets(ks)),
      add: (k, v) => c.add(k, v), replace: (k, v) => c.replace(k, v),
      incr: (k, n) => c.incr(k, n), decr: (k, n) => c.decr(k, n), del: (k) => c.delete(k),
      append: (k, v) => c.append(k, v), prepend: (k, v) => c.prepend(k, v), touch: (k, ttl) => c.touch(k, ttl),
      end: () => c.disconnect(),
    };
  },
};

async function sameMany(c) {
  const got = await c.getMany(Object.keys(many));
  return Object.keys(many).every((k) => got[k] === many[k]);
}

async function store(c) {
  await c.set(`${p}k`, 'v');
  tell('set', { get: [await c.get(`${p}k`), 'v'], miss: [await c.get(`${p}none`) ?? null, null] });
  tell('add', { there: [!!await c.add(`${p}k`, 'w'), false], 'not there': [!!await c.add(`${p}a`, 'w'), true] });
  tell('replace', { there: [!!await c.replace(`${p}a`, 'x'), true], 'not there': [!!await c.replace(`${p}none`, 'x'), false] });
  await Promise.all(Object.entries(many).map(([k, v]) => c.set(k, v)));
  tell('many', { get: [await sameMany(c), true] });
  await c.set(`${p}n`, 10);
  tell('count', { up: [await c.incr(`${p}n`, 5), 15], down: [await c.decr(`${p}n`, 7), 8] });
  await c.set(`${p}s`, 'b');
  await c.append(`${p}s`, 'c');
  await c.prepend(`${p}s`, 'a');
  // memjs appends what it is to prepend, against memcached, too.
  tell('append', { both: [await c.get(`${p}s`), client === 'npm memjs' ? 'bca' : 'abc'] });
  if (c.cas) tell('cas', { once: [await c.cas(`${p}k`, 'v'), true] }); else none('cas');
  await c.set(`${p}t`, 'x', 50);
  tell('touch', { there: [!!await c.touch(`${p}t`, 100000), true] });
  await c.set(`${p}gone`, 'x');
  await c.del(`${p}gone`);
  tell('delete', { it: [await c.get(`${p}gone`) ?? null, null] });
  await c.set(`${p}big`, 'B'.repeat(700000));
  tell('big', { get: [(await c.get(`${p}big`)).length, 700000] });
  await c.set(`${p}later`, 'x', 100);
}

async function main() {
  const c = kinds[client]();
  if (half === 'store') {
    await store(c);
  } else if (half === 'read') {
    tell('kill -9', { get: [await c.get(`${p}k`), 'v'], many: [await sameMany(c), true], count: [await c.incr(`${p}n`, 2), 10],
      deleted: [await c.get(`${p}gone`) ?? null, null], big: [(await c.get(`${p}big`)).length, 700000], later: [await c.get(`${p}later`), 'x'] });
  } else {
    tell('expiry', { later: [await c.get(`${p}later`) ?? null, null], ever: [await c.get(`${p}k`), 'v'], touched: [await c.get(`${p}t`), 'x'] });
  }
  await c.end();
}
main().then(() => process.exit(0), (e) => { console.log(`set\t${e.stack.replace(/\s+/g, ' ')}`); process.exit(1); });
