#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# What each option that can be changed while the daemon runs does when it is, seen from outside: t/5051-reload.t has how they are
# changed, and those of the first days.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Failing qw($writes break_calls mend logs);
use Hearth::Http qw(get metrics);
use Hearth::Files qw(du);
use Hearth::Process qw(program run sanitizer scratch_dir slurp spew wait_until);
use IO::Socket::INET;
use JSON::PP;
use Test::More;
use Time::HiRes qw(sleep time);

my $mib = 1 << 20;
my @quiet = ('--snapshot-interval', 0, '--snapshot-log-ratio', 0);

sub set { my ($daemon, @words) = @_; return run([program('hearth'), 'set', $daemon->dir, @words]); }
sub persist { return $_[0]->client->stats('persist'); }

sub set_ok
{
	my ($daemon, $name, $value) = @_;
	my ($code, $out, $err) = set($daemon, $name, $value);
	is("$code$out", 0, "set $name $value") or diag $err;
	return;
}

sub set_refused
{
	my ($daemon, $name, $value, $why) = @_;
	my ($code, $out, $err) = set($daemon, $name, $value);
	is("$code$out", 64, "set $name $value is refused");
	like($err, $why, 'with the reason');
	return;
}

# Values that do not compress, for keys k1 to k$keys, $rounds times each; what they are at the end.
sub load
{
	my ($daemon, $keys, $rounds) = @_;
	my $client = $daemon->client;
	my %model;
	for my $round (1 .. $rounds) {
		for my $k (1 .. $keys) {
			my $value = join '', map { chr(33 + int rand 90) } 1 .. 500;
			$value = substr $value x 40, 0, 19000 + int rand 1000;
			$value ^= substr pack('N*', map { int rand 0x03030303 } 1 .. 5000), 0, length $value;
			$client->set("k$k", $value) eq 'STORED' and $model{"k$k"} = $value;
		}
	}
	return \%model;
}

sub wrong
{
	my ($daemon, $model) = @_;
	my $client = $daemon->client;
	return join ' ', grep { ($client->get($_) // '') ne $model->{$_} } sort keys %$model;
}

# ---- max-disk ----
{
	my $daemon = Hearth::Daemon->start(args => ['-m', 8, '-I', '64k', '-t', 2, @quiet]);
	my $model = load($daemon, 100, 15);
	cmp_ok(du($daemon->dir), '>', 20 * $mib, 'a directory without a bound has grown');
	is(persist($daemon)->{disk_limit}, 0, 'and shows none');
	set_ok($daemon, 'max-disk', '16m');
	is(persist($daemon)->{disk_limit}, 16 * $mib, 'the bound is in force at once');
	like($daemon->errors, qr/max-disk: now 16m/, 'which is said');
	wait_until('what is to be done', sub { $daemon->errors =~ /--max-disk 16777216: \d{8} bytes are there: a snapshot of about \d+ is written/ });
	wait_until('it to be below', sub { du($daemon->dir) <= 16 * $mib }, 60);
	pass('a snapshot brings it below');
	my $answer = '';
	wait_until('changes', sub { ($answer = $daemon->client->set('new', 'x')) eq 'STORED' }, 30);
	is($answer, 'STORED', 'changes are taken');
	$model = { %$model, %{ load($daemon, 100, 10) } };
	cmp_ok(du($daemon->dir), '<=', 16 * $mib, 'and it stays below');
	is(persist($daemon)->{state}, 'healthy', 'healthy');
	set_refused($daemon, 'max-disk', '4m', qr/max-disk 4m: too little: as it was started it must be \d{7,} or more/);
	set_refused($daemon, 'max-disk', 'much', qr/max-disk much: not a number/);
	is(persist($daemon)->{disk_limit}, 16 * $mib, 'and the old bound stays');
	is(wrong($daemon, $model), '', 'nothing was lost');

	# What is in memory does not fit twice: nothing helps.
	$model = { %$model, %{ load($daemon, 280, 2) } };
	set_ok($daemon, 'max-disk', '12m');
	wait_until('what is not to be done', sub { $daemon->errors =~ /--max-disk 12582912: \d+ bytes are there, and no snapshot would make them fit/ }, 30);
	wait_until('refused', sub { $daemon->client->set("big$_", 'x' x 60000) =~ /^SERVER_ERROR/ for 1 .. 3; persist($daemon)->{state} ne 'healthy' }, 60);
	isnt(persist($daemon)->{state}, 'healthy', 'with a bound below what is in memory changes are refused');
	like($daemon->client->ask("delete k1\r\n"), qr/^(?:DELETED|NOT_FOUND)/, 'and deletes are not');

	# on-disk-error, while it is so.
	set_ok($daemon, 'on-disk-error', 'serve');
	wait_until('served from memory', sub { $daemon->client->set('k2', 'in memory') eq 'STORED' }, 30);
	is($daemon->client->get('k2'), 'in memory', 'on-disk-error serve counts in the middle of an error');
	is(persist($daemon)->{on_disk_error}, 'serve', 'and is shown');
	like($daemon->errors, qr/state untrusted: changes are kept in memory alone/, 'with what it costs');
	set_ok($daemon, 'on-disk-error', 'refuse');
	wait_until('refused', sub { $daemon->client->set('k2', 'again') =~ /^SERVER_ERROR/ || persist($daemon)->{state} eq 'healthy' }, 30);
	is(persist($daemon)->{on_disk_error}, 'refuse', 'and so is the way back');

	set_ok($daemon, 'max-disk', '0');
	is(persist($daemon)->{disk_limit}, 0, 'without a bound again');
	wait_until('healthy', sub { persist($daemon)->{state} eq 'healthy' }, 90);
	is($daemon->client->set('k3', 'well'), 'STORED', 'it gets well');
	$daemon->crash;
	is($daemon->client->get('k3'), 'well', 'and keeps what it is told');
	is($daemon->stop, 0, 'it stops in order');
}

# ---- on-disk-error, when the log has stopped ----
SKIP: {
	skip 'no strace under a sanitizer', 7 if sanitizer();
	my $daemon = Hearth::Daemon->start(args => ['-t', 2, @quiet]);
	$daemon->client->set('k1', 'old');
	my $broken = break_calls($daemon, $writes, 'EIO', logs(1, 60));
	eval { $daemon->client->set('k1', 'new') };
	wait_until('stopped', sub { persist($daemon)->{state} eq 'stopped' }, 60);
	like($daemon->client->set('k2', 'x'), qr/^SERVER_ERROR/, 'a stopped log: changes are refused');
	set_ok($daemon, 'on-disk-error', 'serve');
	wait_until('untrusted', sub { persist($daemon)->{state} =~ /untrusted|healing/ }, 30);
	is($daemon->client->set('k2', 'x'), 'STORED', 'on-disk-error serve: a stopped log is given up for changes in memory');
	set_ok($daemon, 'on-disk-error', 'refuse');
	wait_until('refused', sub { $daemon->client->set('k3', 'x') =~ /^SERVER_ERROR/ }, 30);
	is($daemon->client->get('k2'), 'x', 'and back: changes are refused, what was taken is served');
	mend($broken);
	wait_until('healthy', sub { persist($daemon)->{state} eq 'healthy' }, 90);
	is($daemon->crash->client->get('k2'), 'x', 'with the disk well it is kept');
	is($daemon->stop, 0, 'it stops in order');
}

# ---- with a directory, one at a time ----
my $log = scratch_dir() . '/log';
my $daemon = Hearth::Daemon->start(args => ['-m', 8, @quiet, '--scrub-interval', 0, '--fsync', 'os']);
my $client = $daemon->client;
$client->set('k', 'v');
run([program('hearth'), 'snapshot', $daemon->dir]);

is(persist($daemon)->{scrub_passes}, 0, 'scrub-interval 0: no pass');
set_ok($daemon, 'scrub-interval', 1);
wait_until('passes', sub { persist($daemon)->{scrub_passes} >= 2 }, 30);
pass('scrub-interval 1: passes');
set_ok($daemon, 'scrub-interval', 86400);
my $passes = persist($daemon)->{scrub_passes};
sleep 2.5;
cmp_ok(persist($daemon)->{scrub_passes}, '<=', $passes + 1, 'scrub-interval 86400: no more than the one that was under way');

my $written = sub { return persist($daemon)->{log_written_bytes} };
my $before = $written->();
sleep 2.5;
is($written->(), $before, 'an idle daemon writes nothing');
set_ok($daemon, 'max-downtime', 4);
wait_until('a sign of life', sub { $written->() > $before }, 30);
pass('max-downtime: it gives signs of life');
set_ok($daemon, 'max-downtime', 0);

set_ok($daemon, 'persist-min-ttl', 1000);
$client->ask("set short 0 500 1\r\n1\r\n");
set_ok($daemon, 'persist-min-ttl', 0);
$client->ask("set long 0 500 1\r\n1\r\n");

set_ok($daemon, 'protocol', 'binary');
is($client->get('k'), 'v', 'protocol binary: who speaks text goes on');
my $other = $daemon->client;
$other->put("version\r\n");
unlike($other->line // '', qr/^VERSION/, 'and nobody else begins to');
set_ok($daemon, 'protocol', 'auto');
like($daemon->client->ask("version\r\n"), qr/^VERSION/, 'protocol auto: both again');

set_ok($daemon, 'disable-evictions', 'yes');
is($client->stats('settings')->{evictions}, 'off', 'disable-evictions is shown');
my %answers;
$answers{ $client->set("fill$_", 'x' x 100000) =~ s/ .*//r }++ for 1 .. 120;
cmp_ok($answers{SERVER_ERROR} // 0, '>', 0, 'disable-evictions: memory that is full is told');
is($client->stats->{evictions}, 0, 'and nothing is evicted');
set_ok($daemon, 'disable-evictions', 'no');
my $answer = '';
wait_until('room', sub { ($answer = $client->set('room', 'x' x 100000)) eq 'STORED' }, 30);
is($answer, 'STORED', 'and made room for again');

set_ok($daemon, 'listen-backlog', 17);
is($client->stats('settings')->{tcp_backlog}, 17, 'listen-backlog is shown');
SKIP: {
	my ($code, $out) = eval { run(['ss', '-Hltn', 'src', '127.0.0.1:' . $daemon->port]) };
	skip 'no ss', 1 if !defined $code || $code;
	like($out, qr/^LISTEN\s+\d+\s+17\s/, 'and is the kernel\'s');
}

my $silent = $daemon->client;
$silent->ask("version\r\n");
set_ok($daemon, 'extended', 'idle_timeout=1,no_maxconns_fast');
is(join(' ', @{ $client->stats('settings') }{qw(idle_timeout maxconns_fast)}), '1 no', 'extended is shown');
is($silent->line, undef, 'idle_timeout: a silent connection is closed');
set_refused($daemon, 'extended', 'read_buf_mem_limit=1', qr/read_buf_mem_limit need a restart/);
set_refused($daemon, 'extended', 'idle_timeout=x', qr/idle_timeout: not a number/);
is($daemon->client->stats('settings')->{idle_timeout}, 1, 'and what was stays');
set_ok($daemon, 'extended', 'maxconns_fast');
$client = $daemon->client;
sleep 3.5;
is($client->get('k'), 'v', 'without it a silent one stays');
is($client->stats('settings')->{idle_timeout}, 0, 'and it is off');

# ---- messages ----
my $mark = length $daemon->errors;
set_ok($daemon, 'log-format', 'json');
set_ok($daemon, 'keep', 2);
my @lines = split /\n/, substr $daemon->errors, $mark;
is(join('|', map { decode_json($_)->{message} } @lines), 'log-format: now json|keep: now 2', 'log-format json: an object a line from then on');
$mark = length $daemon->errors;
set_ok($daemon, 'log-format', 'text');
like(substr($daemon->errors, $mark), qr/\A\S+Z hearthd: log-format: now text\n\z/, 'log-format text: a line again');
set_ok($daemon, 'log-file', $log);
$mark = length $daemon->errors;
set_ok($daemon, 'keep', 3);
like(slurp($log), qr/keep: now 3/, 'log-file: messages go there');
is(sprintf('%o', (stat $log)[2] & 07777), '600', 'which is for its user alone');
is(substr($daemon->errors, $mark), '', 'and no more to where they went');
set_refused($daemon, 'log-file', "$log/no/file", qr{log-file \Q$log\E/no/file: Not a directory});
set_ok($daemon, 'keep', 1);
like(slurp($log), qr/keep: now 1/, 'they go on where they went');
rename $log, "$log.1" or die;
kill 'HUP', $daemon->pid;
wait_until('the new log', sub { -e $log && slurp($log) =~ /read again/ });
like(slurp($log), qr/log-file none: where messages went before is closed/, 'HUP opens it anew, and cannot do without, which is told');
like(slurp($log), qr/scrub-interval: now 0/, 'the rest of the configuration counts');

$daemon->crash(args => ['-m', 8, @quiet]);
is($daemon->client->get('short'), undef, 'persist-min-ttl: what was set with less is not kept');
is($daemon->client->get('long'), '1', 'what was set before it was on, or after, is');
is($daemon->stop, 0, 'it stops in order');

# ---- http ----
my $one = Hearth::Daemon::free_port();
# It is to be free on all addresses.
my $two = IO::Socket::INET->new(LocalAddr => '0.0.0.0', Listen => 1)->sockport;
my $file = scratch_dir() . '/hearth.conf';
spew($file, "keep = 2\n");
$daemon = Hearth::Daemon->start(args => ['-m', 64, '--config', $file]);
set_ok($daemon, 'http', $one);
is(get($one, '/readyz')->{body}, "ready\n", 'http: it answers');
is(metrics($one)->{hearth_persistent}, 1, 'with figures');
set_ok($daemon, 'http', "127.0.0.1:$two");
is(get($two, '/readyz')->{body}, "ready\n", 'http: it has moved');
is(get($one, '/readyz'), undef, 'and does not answer where it was');
my $holder = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1) or die;
my $taken = $holder->sockport;
set_refused($daemon, 'http', $taken, qr/http $taken: 127\.0\.0\.1 port $taken: Address already in use/);
set_refused($daemon, 'http', 'nowhere', qr/http nowhere: no port/);
is(get($two, '/readyz')->{body}, "ready\n", 'http: one that cannot be had leaves the old one');
set_ok($daemon, 'http', "*:$two");
is(get($two, '/readyz', host => $_)->{body}, "ready\n", "http: the same port on all addresses: $_") for '127.0.0.1', '127.0.0.2';
set_ok($daemon, 'http', $two);
is(get($two, '/readyz')->{body}, "ready\n", 'http: and back');
is(get($two, '/readyz', host => '127.0.0.2'), undef, 'on no other address');
# Its port is ours, the address is not: the old one listens again.
set_refused($daemon, 'http', "192.0.2.1:$two", qr/http 192\.0\.2\.1:$two: 192\.0\.2\.1 port $two: /);
my $again = wait_until('it to listen', sub { get($two, '/readyz') }, 30);
is($again->{body}, "ready\n", 'http: an address that is not ours with its own port');
for my $case (["http = $taken\nkeep = 3\n", $two, 'a port in use'], ["http = $one\nkeep = 4\n", $one, 'another one']) {
	my ($conf, $serves, $what) = @$case;
	$mark = length $daemon->errors;
	spew($file, $conf);
	kill 'HUP', $daemon->pid;
	wait_until('HUP', sub { substr($daemon->errors, $mark) =~ /read again/ });
	my $said = substr $daemon->errors, $mark;
	like($said, qr/keep: now \d/, "HUP, $what: the rest counts");
	is($said =~ /http: now/ ? 1 : 0, $serves == $one ? 1 : 0, "HUP, $what: what is told is true");
	is(get($serves, '/readyz')->{body}, "ready\n", "HUP, $what: it answers on $serves");
	like((set($daemon))[1], qr/^http \Q@{[$serves == $one ? $one : $two]}\E$/m, "HUP, $what: the list says so");
}
spew($file, "keep = 4\n");
kill 'HUP', $daemon->pid;
wait_until('HTTP to end', sub { !get($one, '/readyz') });
like($daemon->errors, qr/http: now none/, 'HUP: off when the file has it no more');
set_ok($daemon, 'http', $one);
is(get($one, '/readyz')->{body}, "ready\n", 'and on');
set_ok($daemon, 'http', 'none');
is(get($one, '/readyz'), undef, 'and off');
like((set($daemon))[1], qr/^http none$/m, 'the list says so');
is($daemon->client->set('k', 'v'), 'STORED', 'clients are served');
is($daemon->stop, 0, 'it stops in order');
$daemon = Hearth::Daemon->start(dir => 'none', args => ['--http', 'none']);
is($daemon->stop, 0, '--http none at the start');

# ---- stop-timeout ----
SKIP: {
	skip 'no strace under a sanitizer', 4 if sanitizer();
	$daemon = Hearth::Daemon->start(args => ['--fsync', 'os', @quiet],
		prefix => ['strace', '-D', '-f', '-o', '/dev/null', '-e', 'trace=fdatasync', '-e', 'inject=fdatasync:delay_enter=20000000']);
	set_ok($daemon, 'stop-timeout', 1);
	$daemon->client->set('k', 'v');
	kill 'TERM', $daemon->pid;
	is($daemon->ended, 74, 'stop-timeout: it ends without the disk');
	like($daemon->errors, qr/--stop-timeout: no end of .* within 1 seconds/, 'after as long as was set');
}
done_testing();
