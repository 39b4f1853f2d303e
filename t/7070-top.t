#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# hearth top: as lines, as JSON, once; on a terminal of any size, resized, with keys; a daemon that goes away, comes back, or is
# none; the terminal is given back whatever ends it.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Client;
use Hearth::Daemon;
use Hearth::Process qw(program run spawn reap sanitizer scratch_dir slurp wait_until);
use Hearth::Screen;
use IO::Socket::INET;
use JSON::PP;
use Test::More;

my @kept;
my $top = [program('hearth'), 'top'];
sub top { return run([@$top, @_], seconds => 100); }

my $daemon = Hearth::Daemon->start(args => ['--snapshot-interval', 3600, '--snapshot-log-ratio', 100]);
my $dir = $daemon->dir;
my $server = '127.0.0.1:' . $daemon->port;

# A load with one hot key, whose name would do things to a terminal.
my $evil = "evil\e[2J\x07\xff";
my $load = fork // die "fork: $!";
if ($load == 0) {
	require MIME::Base64;
	my $key = MIME::Base64::encode_base64($evil, '');
	my $c = $daemon->client;
	$c->ask("ms $key 1 b\r\nx\r\n");
	for (my $i = 0; getppid != 1; $i++) {
		my $k = $i % 500;
		my $ok = eval {
			$c->put("set k$k 0 0 1 noreply\r\nv\r\n" . "mg $key b v\r\n" x 4 . "get k$k no$k\r\ndelete gone noreply\r\nincr gone 1 noreply\r\nmn\r\n");
			while ((my $line = $c->line // die) ne 'MN') { }
			1;
		};
		last unless $ok;
		select undef, undef, undef, 0.001;
	}
	require POSIX;
	POSIX::_exit(0);
}

# ---- lines ----
my ($code, $out, $err) = top('--once', $dir);
is($code, 0, 'once, by the admin socket') or diag $err;
is($err, '', 'nothing on standard error');
like($out, qr/^hearth top \Q$dir\E: hearthd \d\S*, up \d+ s$/m, 'who');
like($out, qr/^state      healthy/m, 'state');
like($out, qr/^requests   \S+\/s: get [1-9]\S*, set [1-9]\S*, delete [1-9]\S*, touch 0, incr\/decr [1-9]\S*$/m, 'rates by kind');
like($out, qr/^hits       \d+\.\d % now, \d+\.\d % since the start; [1-9]\S*\/s of the requests are meta$/m, 'hit ratios');
like($out, qr/^network    \d+ connections of \S+, in \d\S* (?:K|M)?i?B\/s, out \d/m, 'network, with units');
like($out, qr/^memory     \S+ [MK]iB of 64\.0 MiB \(\d+ %\), \d+ items$/m, 'memory');
like($out, qr/^leaving    evicted 0\/s, expired 0\/s$/m, 'evictions and expirations');
like($out, qr/^log        \+\d\S* [KM]iB\/s, \S+ [KM]iB, \S+ changes not synced yet$/m, 'log');
like($out, qr/^fsync      \S+\/s, last \S+ (?:us|ms|s), longest \S+ (?:us|ms|s)$/m, 'fsync');
like($out, qr/^snapshot   none yet; next in \d+ min or \S+ MiB of log$/m, 'snapshot, and what brings the next one');
like($out, qr/^hot keys   sampled: 1 key in 64, \S+ in the last \d+ s; by what is certain$/m, 'hot keys are said to be sampled');
unlike($out, qr/[\x00-\x09\x0b-\x1f\x7f-\xff]/, 'no control byte');
unlike($out, qr/\n\n\n/, 'no hole');
($code, $out, $err) = top('--once', '--interval', 0.3, '--server', $server);
is($code, 0, 'by the port') or diag $err;
# Whether hot keys are sampled or not, by the port and by the admin socket.
for my $kind (qw(get set)) {
	my $time = qr/^$kind time   p50 \S+ (?:us|ms|s), p99 \S+ (?:us|ms|s), p99\.9 \S+ (?:us|ms|s), max \S+ (?:us|ms|s) \(sampled\)$/m;
	for my $of (['--server', $server], ['--no-samples', $dir]) {
		wait_until('a turn to be timed', sub { (top('--once', '--interval', 0.1, @$of))[1] =~ $time }, 60);
		pass("$kind time, @$of");
	}
}
wait_until('the hot key to stand out', sub { ($code, $out, $err) = top('--once', '--interval', 0.2, $dir); $out =~ /^ +\d+\.\d %.*  evil\\x1b\[2J\\x07\\xff$/m }, 60);
pass('it does, with its bytes escaped');

# ---- JSON ----
my $file = scratch_dir() . '/out';
my $pid = spawn([@$top, '--json', '--interval', 0.2, '--server', $server], out => $file);
wait_until('three objects', sub { (() = (-e $file ? slurp($file) : '') =~ /\n/g) >= 3 });
kill 'TERM', $pid;
is(reap($pid, 30) & 127, 15, 'TERM ends it, and it says so');
my @objects = map { decode_json($_) } split /\n/, slurp($file);
cmp_ok(scalar @objects, '>=', 3, 'an object a line for each interval');
my $o = $objects[-1];
cmp_ok($o->{get_per_second}, '>', 0, 'rates');
cmp_ok($o->{seconds}, '>', 0.19, 'over the interval');
is($o->{since_start}, JSON::PP::false, 'not since the start');
is($o->{state}, 'healthy', 'state');
cmp_ok($o->{hit_ratio}, '<=', 1, 'ratio');
cmp_ok($o->{sampled_one_in}, '==', 64, 'how it is sampled');
my ($hot) = sort { $b->{samples} - $b->{too_high_by} <=> $a->{samples} - $a->{too_high_by} } @{ $o->{hot_keys} };
require MIME::Base64;
is($hot->{key_b64}, MIME::Base64::encode_base64($evil, ''), 'the hot key, in base64 as it is no text');
($code, $out, $err) = top('--once', '--json', '--interval', 0.1, '--no-samples', $dir);
is($code, 0, '--no-samples');
is_deeply(decode_json($out)->{hot_keys}, [], 'no hot keys');
is(decode_json($out)->{keys_sampled}, undef, 'nor keys');
$o = decode_json($out);
is($o->{timed_one_in}, 64, 'times there are: one in so many');
for my $kind (qw(get set)) {
	my @times = map { $o->{"${kind}_${_}_us"} } qw(p50 p99 p999 max);
	cmp_ok($o->{"${kind}_timed"}, '>', 0, "$kind: timed");
	cmp_ok($times[0], '>', 0, "$kind: a time");
	is_deeply([sort { $a <=> $b } @times], \@times, "$kind: percentiles rise: @times");
}

# ---- what it is told ----
for (['--interval', 0, $dir], ['--interval', 'x', $dir], ['--interval', 3601, $dir], ['--interval', 'nan', $dir], [], ['--server', $server, $dir],
	['--server', 'nonsense', '--once'], [$dir, $dir]) {
	is((top(@$_))[0], 64, "wrong usage: @$_");
}
($code, $out, $err) = top('--once', scratch_dir());
is($code, 69, 'no daemon there');
like($err, qr/no daemon runs there/, 'says so');
($code, $out, $err) = top('--once', '--server', '127.0.0.1:' . Hearth::Daemon::free_port());
is($code, 69, 'nobody listens');
like($err, qr/Connection refused/, 'says so');

# One that answers nothing, one that answers nonsense, one that never ends.
for my $nonsense ('', "HTTP/1.1 400 Bad Request\r\n\r\n", 'x' x 100000, "STAT a b\r\nEND\r\n" x 3) {
	my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0, Listen => 5) or die;
	my $other = fork // die;
	if ($other == 0) {
		while (my $s = $listener->accept) { sysread $s, my $in, 100; syswrite $s, $nonsense; push @kept, $s; }
		exit;
	}
	($code, $out, $err) = top('--once', '--server', '127.0.0.1:' . $listener->sockport);
	is($code, 69, 'no memcached: ' . substr $nonsense, 0, 10);
	like($err, qr/timed out|no memcached/, 'says so') or diag $err;
	kill 'KILL', $other;
	waitpid $other, 0;
}

# ---- the screen ----
my $s = Hearth::Screen->run([@$top, '--interval', 0.2, $dir]);
$s->wait_for(qr/^hearth top .*\nstate      healthy.*\nrequests   .*\n(?:.*\n)*every 0\.2 s   q quit/m);
$s->wait_for(qr/hot keys   sampled/);
isnt($s->modes, $s->{before}, 'the terminal is in use');
$s->type('p');
$s->wait_for(qr/^PAUSED   every/m);
$s->watch(0.3);
my $still = $s->text;
$s->watch(1);
is($s->text, $still, 'paused it stands still');
$s->type('p');
$s->wait_for(qr/^every 0\.2/m);
$s->type('+');
$s->wait_for(qr/^every 0\.5 s/m);
$s->type('--');
$s->wait_for(qr/^every 0\.1 s/m);
$s->type('-');
$s->watch(0.3);
like($s->text, qr/^every 0\.1 s/m, 'not shorter than that');
$s->type('s');
$s->wait_for(qr/; by what may be$/m);
$s->type('s');
$s->wait_for(qr/; by key$/m);
$s->type('s');
$s->wait_for(qr/; by what is certain$/m);
$s->type('h');
$s->wait_for(qr/^q      ends\n/m);
$s->type('x');
$s->wait_for(qr/^requests/m);
for ([50, 132], [24, 80], [10, 40], [3, 10], [2, 5], [1, 1], [1, 80], [24, 20], [24, 80]) {
	is($s->{unknown}, '', 'nothing is drawn outside, nor anything that the terminal does not know');
	$s->resize(@$_);
	$s->wait_for(qr/\Ah/);
	# What was on its way for the size before may lie outside.
	$s->watch(0.5);
	$s->{unknown} =~ s/outside\(\d+,\d+\)//g;
	$s->watch(0.5);
	ok(kill(0, $s->{pid}), "it lives at $_->[1] x $_->[0]");
	like($s->{screen}[0], qr/^h/, 'and shows where it is');
}
$s->wait_for(qr/^hot keys   sampled.*\n(?:.*\n)*every 0\.1 s/m);
is($s->{unknown}, '', 'nothing is drawn outside at the end');
unlike($s->{raw}, qr/\e\[2J\x07\xff/, 'the key did nothing to the terminal');
$s->type('q');
is($s->ended, 0, 'q ends it');
is($s->modes, $s->{before}, 'the terminal is as it was');

# Small from the beginning.
is((run([program('hearth'), 'snapshot', $dir]))[0], 0, 'a snapshot');
for ([24, 80], [5, 20], [1, 1]) {
	my $small = Hearth::Screen->run([@$top, $dir], rows => $_->[0], columns => $_->[1]);
	$small->wait_for(qr/^h/);
	$small->watch(0.3);
	is($small->{unknown}, '', "$_->[1] x $_->[0]: all is inside");
	my @rows = split /\n/, $small->text;
	if ($_->[1] == 80) {
		$small->wait_for(qr/^snapshot   number \d+, \d+ s ago, \S+ [KM]iB; next in \d+ min or \S+ MiB of log$/m);
		pass('and its longest line is not cut');
	}
	like($rows[-1], qr/^every 1 s/, 'the last line says what keys do') if $_->[0] > 20;
	$small->type('q');
	is($small->ended, 0, 'and it ends');
	is($small->modes, $small->{before}, 'the terminal is as it was');
}

for my $signal (qw(INT TERM HUP QUIT)) {
	my $t = Hearth::Screen->run([@$top, $dir]);
	$t->wait_for(qr/^requests/m);
	kill $signal, $t->{pid};
	my %number = (INT => 2, TERM => 15, HUP => 1, QUIT => 3);
	is($t->ended, 128 + $number{$signal}, "$signal ends it, and it says so");
	is($t->modes, $t->{before}, 'the terminal is as it was');
}
my $t = Hearth::Screen->run([@$top, $dir]);
$t->wait_for(qr/^requests/m);
$t->type("\x03");
is($t->ended, 130, '^C');
is($t->modes, $t->{before}, 'the terminal is as it was');
$t = Hearth::Screen->run([@$top, '--once', '--interval', 0.1, $dir], term => 'no-such-terminal');
is($t->ended, 0, '--once needs no screen');
$t = Hearth::Screen->run([@$top, '--interval', 0.2, $dir], term => 'no-such-terminal', rows => 60);
$t->wait_for(qr/no known kind.*\n(?:.*\n)*requests/);
$t->type("\x03");
is($t->ended, 130, 'a terminal of no known kind gets lines');

# ---- a daemon that goes away, and comes back ----
$file = scratch_dir() . '/out';
$pid = spawn([@$top, '--plain', '--interval', 0.2, $dir], out => $file, err => "$file.err");
my $json = spawn([@$top, '--json', '--interval', 0.2, '--server', $server], out => "$file.json", err => "$file.json.err");
$s = Hearth::Screen->run([@$top, '--interval', 0.2, $dir]);
$s->wait_for(qr/^requests/m);
wait_until('lines', sub { -s $file && -s "$file.json" });
$daemon->kill9;
waitpid $load, 0;
is(reap($pid, 30) >> 8, 69, 'lines end when nobody answers');
like(slurp("$file.err"), qr/\Q$dir\E: \S/, 'with a message');
is(reap($json, 30) >> 8, 69, 'JSON likewise');
decode_json($_) for split /\n/, slurp("$file.json");
$s->wait_for(qr/^NO ANSWER  for \d+ s: /m);
ok(1, 'the screen says so, and stays');
$daemon->up;
$s->wait_for(qr/^hearth top .*, up \d s\nstate      healthy; \d+ items recovered/m);
like($s->text, qr/^requests   \S+\/s/m, 'and goes on with the next one');
$s->type('q');
is($s->ended, 0, 'ends');

# A disk that fails, in plain words.
SKIP: {
	skip 'needs strace', 2 if sanitizer();
	my @paths = map { ('-P', sprintf '%s/log-%010d', $dir, $_) } 1 .. 30;
	my $trace = scratch_dir();
	my $strace = spawn(['strace', '-f', '-y', '-o', "$trace/trace", @paths, '-e', 'trace=write,writev,pwrite64,pwritev,fallocate', '-e',
		'inject=write,writev,pwrite64,pwritev,fallocate:error=ENOSPC', '-p', $daemon->pid], err => "$trace/err");
	wait_until('strace to attach', sub { -e "$trace/err" && slurp("$trace/err") =~ /attached/ });
	select undef, undef, undef, 0.2;
	eval { $daemon->client->set('filler', 'x') };
	wait_until('it to notice', sub { $daemon->client->stats('persist')->{state} ne 'healthy' }, 90);
	($code, $out, $err) = top('--once', '--interval', 0.2, $dir);
	is($code, 0, 'it answers') or diag $err;
	like($out, qr/^DEGRADED   \w+ for \d+ s: .*\(.*No space left on device\)$/m, 'degraded, why and what it means');
	kill 'TERM', $strace;
	reap($strace, 30);
}

# A memcached has less to say.
my $memcached = -x '/usr/bin/memcached' && !sanitizer() ? Hearth::Daemon->start(program => '/usr/bin/memcached') : undef;
SKIP: {
	skip 'no memcached', 3 unless $memcached;
	($code, $out, $err) = top('--once', '--interval', 0.2, '--server', '127.0.0.1:' . $memcached->port);
	is($code, 0, 'a memcached') or diag $err;
	like($out, qr/: memcached 1\.\S+, up \d+ s\nstate      a memcached: it keeps nothing/, 'is said to be one');
	unlike($out, qr/^(?:log|hot keys)/m, 'and has no log');
}
done_testing();
