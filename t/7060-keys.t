#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# hearth keys: the list and the sums, of a live directory, a stopped one, a snapshot, a segment, a running Hearth and a
# running memcached. All of them must say the same of the same items.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Files qw(blocks copy_dir flip newest);
use Hearth::Process qw(program run scratch_dir slurp spew);
use IO::Socket::INET;
use JSON::PP;
use MIME::Base64;
use Test::More;

sub hearth { my (@args) = @_; return run([program('hearth'), @args]); }

# The lines of a list, sorted; it must succeed.
sub keys_of
{
	my (@args) = @_;
	my ($code, $out, $err) = hearth('keys', @args);
	is("$code$err", '0', "keys @args");
	return join ' ', sort split /\n/, $out;
}

sub objects
{
	my (@args) = @_;
	my ($code, $out, $err) = hearth('keys', '--json', @args);
	is("$code$err", '0', "keys --json @args");
	return { map { ($_->{key_b64} // $_->{key}) => $_ } map { decode_json($_) } split /\n/, $out };
}

sub sums
{
	my (@args) = @_;
	my ($code, $out, $err) = hearth('keys', '--json', @args);
	is("$code$err", '0', "keys --json @args");
	is($out =~ tr/\n//, 1, 'one document');
	return decode_json($out);
}

# ---- the same items in both servers ----
my $now = time;
sub fill
{
	my ($c) = @_;
	$c->set('plain', 'value', flags => 77);
	$c->set('soon', 'x', exptime => 500);
	$c->set('later', 'xyz', exptime => $now + 40 * 86400);
	$c->set("key\xff", "\0\1");
	$c->set("gr\xc3\xbcn", '');
	$c->set('100%', 'p');
	$c->set("user:$_", 'u' x $_) for 1 .. 100;
	$c->set("session:$_", 's' x 300, exptime => 3000) for 1 .. 20;
	$c->set('big', 'B' x 300_000);
	is($c->ask("ms AAECIA== 3 b F5\r\nabc\r\n"), 'HD', 'a binary key');
	$c->set('gone', 'x');
	$c->ask("delete gone\r\n");
	$c->set('touched', 'x', exptime => 90);
	$c->ask("touch touched 500000\r\n");
	return;
}

my $daemon = Hearth::Daemon->start(args => ['--snapshot-interval', 0, '--snapshot-log-ratio', 0]);
my $memcached = Hearth::Daemon->start(program => '/usr/bin/memcached');
fill($_->client) for $daemon, $memcached;
my ($dir, $at, $other) = ($daemon->dir, '127.0.0.1:' . $daemon->port, '127.0.0.1:' . $memcached->port);
my $expected = join ' ', sort qw(plain soon later touched key%FF gr%C3%BCn 100%25 big %00%01%02%20),
    (map { "user%3A$_" } 1 .. 100), (map { "session%3A$_" } 1 .. 20);

# ---- the list ----
is(keys_of($dir), $expected, 'of a live directory');
is(keys_of('--server', $at), $expected, 'of a running Hearth');
is(keys_of('--server', $other), $expected, 'of a running memcached');
my ($code, $out, $err) = hearth('snapshot', $dir);
my $snapshot = newest($dir, 'snapshot');
is(keys_of($snapshot), $expected, 'of a snapshot');
is(keys_of('--prefix', 'session:1', $dir), join(' ', sort map { "session%3A$_" } 1, 10 .. 19), '--prefix');
is(keys_of('--prefix', 'session:1', '--server', $at), join(' ', sort map { "session%3A$_" } 1, 10 .. 19), 'also live');
$daemon->client->set('behind', 'the snapshot');
$daemon->client->set('plain', 'other', flags => 78);
is(keys_of($dir), join(' ', sort 'behind', split / /, $expected), 'the log behind a snapshot counts');
my $log = newest($dir, 'log');
is(keys_of($log), 'behind plain', 'a segment alone has what it set');

my $socket = scratch_dir() . '/s';
my $local = Hearth::Daemon->start(program => '/usr/bin/memcached', unix => $socket);
$local->client->set('here', 1);
is(keys_of('--server', $socket), 'here', 'of a unix socket');

# ---- as objects ----
my %size = (plain => 5, soon => 1, later => 3, 'gr' . chr(0xfc) . 'n' => 0, '100%' => 1, big => 300_000,
    encode_base64("key\xff", '') => 2, "\0\1\2 " => 3);
for my $of ([$dir], ['--server', $at], ['--server', $other], [$snapshot]) {
	my $all = objects(@$of);
	is_deeply({ map { $_ => $all->{$_}{size} } keys %size }, \%size, 'sizes are those of values');
	is($all->{plain}{flags}, $of->[0] eq $dir || ($of->[1] // '') eq $at ? 78 : 77, 'flags');
	is($all->{plain}{exp}, 0, '0 is never');
	is($all->{later}{exp}, $now + 40 * 86400, 'an expiry beyond 30 days');
	cmp_ok(abs($all->{soon}{exp} - $now - 500), '<=', 60, 'one that was relative');
	cmp_ok(abs($all->{touched}{exp} - $now - 500_000), '<=', 60, 'one that touch gave');
	ok($all->{"\0\1\2 "}{binary_key}, 'a binary key is one');
	ok(!exists $all->{plain}{binary_key}, 'others are not');
	cmp_ok($all->{plain}{cas}, '>', 0, 'a CAS');
	# A record of the log has the time of its block alone.
	cmp_ok(abs($all->{big}{access} - $now), '<=', 60, 'the last access') unless $of->[0] eq $dir;
}

# What export prints of an item is the same object, with the value.
{
	my @lines = map { [sort split /\n/, (hearth($_, '--json', $snapshot))[1] =~ s/"value(?:_b64)?":"[^"]*",//gr] } qw(keys export);
	is(scalar @{ $lines[0] }, 129, 'a line for each key');
	is_deeply(@lines, 'keys --json and export --json print the same fields in the same order');
}

# ---- sums ----
my $bytes = 0;
my @of = (['--server', $other], [$snapshot]);
for my $of (@of) {
	my $s = sums('--prefixes', 10, '--sizes', '--ttl', '--top', 3, @$of);
	is($s->{items}, 129, 'all items');
	my $users = 0;
	$users += length("user:$_") + $_ for 1 .. 100;
	my $sessions = 0;
	$sessions += length("session:$_") + 300 for 1 .. 20;
	is_deeply($s->{prefixes}, [{ prefix => 'session:', items => 20, bytes => $sessions },
	    { prefix => 'user:', items => 100, bytes => $users }], 'by prefix, the largest first');
	is($s->{without_prefix}{items}, 9, 'keys without one');
	is($s->{other_prefixes}{items}, 0, 'no others');
	is($s->{without_prefix}{bytes} + $users + $sessions, $s->{bytes}, 'bytes add up');
	my ($n, $b) = (0, 0);
	for (@{ $s->{sizes} }) {
		$n += $_->{items};
		$b += $_->{bytes};
	}
	is("$n $b", "$s->{items} $s->{bytes}", 'sizes add up');
	is((grep { $_->{from} == 262_144 } @{ $s->{sizes} })[0]{items}, 1, 'the big one in its class');
	is((grep { $_->{from} == 0 } @{ $s->{sizes} })[0]{items}, 1, 'the empty one by itself');
	my %left = map { $_->{left} => $_->{items} } @{ $s->{ttl} };
	is_deeply(\%left, { 'never expires' => 106, 'under 10 minutes' => 1, 'under an hour' => 20, 'under a week' => 1,
	    '30 days or more' => 1 }, 'by the time that is left');
	is(join(' ', map { "$_->{key}:$_->{size}" } @{ $s->{largest} }[0 .. 0]), 'big:300000', 'the largest');
	is(join(' ', map { $_->{size} } @{ $s->{largest} }), '300000 300 300', 'in order');
}
my $one = sums('--prefixes', 1, $snapshot);
is_deeply([map { $_->{prefix} } @{ $one->{prefixes} }], ['session:'], 'as many prefixes as asked for');
is($one->{other_prefixes}{items}, 100, 'the rest are others');
ok(!exists $one->{sizes} && !exists $one->{largest}, 'and only what was asked for');
my $by = sums('--prefixes', 5, '--delimiter', 'e', '--prefix', 'u', $snapshot);
is_deeply($by->{prefixes}[0]{prefix}, 'use', '--delimiter');
($code, $out, $err) = hearth('keys', '--prefixes', 5, '--sizes', '--ttl', '--top', 2, $snapshot);
is("$code$err", '0', 'sums for people');
like($out, qr/^129 items, \d+ bytes/, 'all');
like($out, qr/^\s+100\s+\d+\s+[\d.]+\s+user:$/m, 'a prefix');
like($out, qr/^\s+20\s+\d+\s+[\d.]+\s+under an hour$/m, 'a time');
like($out, qr/^\s+300000  big$/m, 'the largest');
unlike($out, qr/[\x00-\x09\x0b-\x1f\x7f-\xff]/, 'no control byte');

# ---- what has expired; a flush that is due ----
my $c = $daemon->client;
my $end = time + 2;
$c->set('short', 'x', exptime => $end);
sleep 1 while time <= $end;
unlike(keys_of($dir), qr/\bshort\b/, 'what has expired is left out');
like(keys_of('--expired', $dir), qr/\bshort\b/, '--expired');
$c->ask("flush_all 1\r\n");
$daemon->kill9;
sleep 2;
($code, $out, $err) = hearth('keys', $dir);
is("$code$out", '0', 'a flush that has fallen due takes all') or diag $err;
like($err, qr/flush_all was pending/, 'and is named');
like(keys_of('--expired', $snapshot), qr/\bplain\b/, 'the snapshot still has them');

# ---- an empty one, a damaged one, none ----
my $empty = Hearth::Daemon->start;
is(keys_of($empty->dir), '', 'a directory without items');
is(keys_of('--server', '127.0.0.1:' . $empty->port), '', 'a server without items');
is(sums('--sizes', $empty->dir)->{items}, 0, 'sums of nothing');
my $e = $empty->client;
$e->set("k$_", $_ x 100) for 1 .. 50;
$e->ask("flush_all\r\n");
$e->set("after$_", 1) for 1 .. 3;
is(keys_of($empty->dir), 'after1 after2 after3', 'a flush in the log');
hearth('snapshot', $empty->dir);
$e->set('last', 1);
is($empty->stop, 0, 'stops in order');
is(keys_of($empty->dir), 'after1 after2 after3 last', 'a stopped one');
my $copy = copy_dir($empty->dir);
flip(newest($copy, 'snapshot'), 300, 3);
($code, $out, $err) = hearth('keys', $copy);
ok($code == 2 || ($code == 0 && $out =~ /after1/), "a damaged snapshot: $code");
like($err, qr/snapshot-\d+/, 'the file is named');
spew("$copy/foreign", 'no file of Hearth at all' x 20);
($code, $out, $err) = hearth('keys', "$copy/foreign");
is($code, 65, 'a foreign file: 65');
like($err, qr/foreign: neither/, 'named');

# ---- what goes while it is listed, and servers that say what none should ----
# The list names a key, then the answers come in turn.
sub fake
{
	my ($names, $answers) = @_;
	my $port = Hearth::Daemon::free_port();
	my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 5, ReuseAddr => 1) or die "listen: $!";
	my $pid = fork // die "fork: $!";
	if (!$pid) {
		for (1 .. 2) {
			my $c = $listener->accept;
			next if fork;
			while (<$c>) {
				print {$c} /^stats/ ? "STAT curr_items 3\r\nEND\r\n" : /^lru_crawler/ ? $names : shift @$answers // "EN\r\n";
				$c->flush;
			}
			exit 0;
		}
		1 while wait > 0;
		exit 0;
	}
	my @result = hearth('keys', '--json', '--server', "127.0.0.1:$port");
	kill 'KILL', $pid;
	waitpid $pid, 0;
	return @result;
}
my $list = "key=one exp=-1 la=5 cas=1 fetch=no cls=1 size=62\nkey=t%77o exp=-1 la=5 cas=1 fetch=no cls=1 size=62\nEND\r\n";
for my $gone ("EN\r\n", "EN kone\r\n") {
	($code, $out, $err) = fake($list, [$gone, "HD ktwo s3 f1 c9 t-1\r\n"]);
	is("$code$err", '0', 'a key that has gone by the time it is asked for');
	is_deeply(decode_json($out), { key => 'two', size => 3, flags => 1, exp => 0, cas => 9, access => 5 }, 'is left out');
}
($code, $out, $err) = fake("OK\r\n$list", ["EN\r\n", "EN\r\n"]);
is("$code$err", '0', 'an OK before the list, as the pages of memcached have it');
for (["<html>\n", []], ["key=\n", []], ["key=%zz exp=1\n", []], ["key=" . 'k' x 251 . " exp=-1\n", []], ["ERROR\r\n", []],
    [$list, ["SERVER_ERROR \e[31mout of memory\r\n"]], [$list, ["VA 3 k\r\nabc\r\n"]], ['x' x 70_000, []]) {
	($code, $out, $err) = fake(@$_);
	is("$code$out", '74', 'nonsense ends it: 74');
	is($err =~ tr/\n//, 1, 'in one line');
	unlike($err, qr/[\x00-\x09\x0b-\x1f\x7f]/, 'without control bytes');
}

# ---- wrong use ----
for (['keys'], ['keys', '--server', $at, $dir], ['keys', '--top', 'x', $dir], ['keys', '--top', 0, $dir],
    ['keys', '--delimiter', '', $dir], ['keys', '--server', 'nowhere'], ['keys', '--server', $at, '--expired']) {
	($code, $out, $err) = hearth(@$_);
	is("$code$out", '64', "@$_: 64");
	is($err =~ tr/\n//, 1, 'in one line');
}
my $free = Hearth::Daemon::free_port();
($code, $out, $err) = hearth('keys', '--server', "127.0.0.1:$free");
is($code, 69, 'nobody listens: 69');
my $off = Hearth::Daemon->start(program => '/usr/bin/memcached', args => ['-o', 'no_lru_crawler']);
($code, $out, $err) = hearth('keys', '--server', '127.0.0.1:' . $off->port);
is($code, 74, 'a memcached without its crawler: 74');
like($err, qr/answers ".*crawler/, 'with what it says');
is($memcached->stop, 0, 'memcached stops');
done_testing();
