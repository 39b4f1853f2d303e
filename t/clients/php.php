<?php
// SPDX-License-Identifier: BSD-3-Clause
// The clients of PHP: php.php CLIENT HALF PORT. The halves and what they print: ../lib/Hearth/Matrix.pm.
[, $client, $half, $port] = $argv;
$p = strtr($client, ' ,', '-_') . '-';
$old = $client === 'php-memcache';
if ($client === 'php-memcached, sessions') {
    ini_set('session.save_handler', 'memcached');
    ini_set('session.save_path', "127.0.0.1:$port");
    ini_set('session.use_cookies', '0');
    ini_set('session.cache_limiter', '');
    session_id('0123456789abcdef0123456789abcdef');
    session_start();
    if ($half === 'store') {
        $_SESSION['user'] = 'somebody';
        session_write_close();
        session_start();
        tell('set', ['session' => [$_SESSION['user'] ?? null, 'somebody']]);
    } elseif ($half === 'read') {
        tell('kill -9', ['session' => [$_SESSION['user'] ?? null, 'somebody']]);
    } else {
        tell('expiry', ['the session lives' => [$_SESSION['user'] ?? null, 'somebody']]);
    }
    session_write_close();
    exit;
}
if ($old) {
    $c = new Memcache();
    $c->connect('127.0.0.1', (int)$port);
} else {
    $c = new Memcached();
    $c->setOption(Memcached::OPT_BINARY_PROTOCOL, $client === 'php-memcached, binary');
    $c->setOption(Memcached::OPT_COMPRESSION, false);
    $c->addServer('127.0.0.1', (int)$port);
}
$many = [];
for ($i = 0; $i < 500; $i++) {
    $many[$p . "many$i"] = "value $i";
}

function tell($feature, $checks)
{
    foreach ($checks as $what => [$got, $expected]) {
        if ($got !== $expected) {
            echo "$feature\t$what: got ", var_export($got, true), ', expected ', var_export($expected, true), "\n";
            return;
        }
    }
    echo "$feature\tok\n";
}
function set($c, $old, $k, $v, $ttl = 0) { return $old ? $c->set($k, $v, 0, $ttl) : $c->set($k, $v, $ttl); }
function read_many($c, $old, $many)
{
    $got = $old ? $c->get(array_keys($many)) : $c->getMulti(array_keys($many));
    ksort($got);
    ksort($many);
    return $got === $many;
}

if ($half === 'store') {
    tell('set', ['set' => [set($c, $old, $p . 'k', 'v'), true], 'get' => [$c->get($p . 'k'), 'v'], 'miss' => [$c->get($p . 'none'), false]]);
    tell('add', ['there' => [$c->add($p . 'k', 'w'), false], 'not there' => [$c->add($p . 'a', 'w'), true]]);
    tell('replace', ['there' => [$c->replace($p . 'a', 'x'), true], 'not there' => [$c->replace($p . 'none', 'x'), false]]);
    foreach ($old ? $many : [] as $k => $v) {
        set($c, $old, $k, $v);
    }
    tell('many', ['set' => [$old || $c->setMulti($many), true], 'get' => [read_many($c, $old, $many), true]]);
    set($c, $old, $p . 'n', $old ? 10 : '10');
    tell('count', ['up' => [$c->increment($p . 'n', 5), 15], 'down' => [$c->decrement($p . 'n', 7), 8]]);
    set($c, $old, $p . 's', 'b');
    $c->append($p . 's', 'c');
    $c->prepend($p . 's', 'a');
    tell('append', ['both' => [$c->get($p . 's'), 'abc']]);
    if ($old) {
        echo "cas\t-\ntouch\t-\n";
    } else {
        $token = $c->get($p . 'k', null, Memcached::GET_EXTENDED)['cas'];
        tell('cas', ['once' => [$c->cas($token, $p . 'k', 'v'), true], 'twice' => [$c->cas($token, $p . 'k', 'x'), false]]);
        set($c, $old, $p . 't', 'x', 50);
        tell('touch', ['there' => [$c->touch($p . 't', 100000), true], 'not there' => [$c->touch($p . 'none', 1), false]]);
    }
    set($c, $old, $p . 'gone', 'x');
    $c->delete($p . 'gone');
    tell('delete', ['it' => [$c->get($p . 'gone'), false]]);
    set($c, $old, $p . 'big', str_repeat('B', 700000));
    tell('big', ['get' => [strlen($c->get($p . 'big')), 700000]]);
    set($c, $old, $p . 'later', 'x', 100);
} elseif ($half === 'read') {
    tell('kill -9', ['get' => [$c->get($p . 'k'), 'v'], 'many' => [read_many($c, $old, $many), true],
        'count' => [$c->increment($p . 'n', 2), 10], 'deleted' => [$c->get($p . 'gone'), false],
        'big' => [strlen($c->get($p . 'big')), 700000], 'later' => [$c->get($p . 'later'), 'x']]);
} else {
    tell('expiry', ['later' => [$c->get($p . 'later'), false], 'ever' => [$c->get($p . 'k'), 'v']]
        + ($old ? [] : ['touched' => [$c->get($p . 't'), 'x']]));
}
