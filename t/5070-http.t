#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# --http: where it listens, its routes and their headers, what it refuses, what a client can cost, its states from loading to
# stopping, and metrics that are Prometheus's format, memcached_exporter's names and the figures of `stats`.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Http qw(connect_to request get metrics read_metrics);
use Hearth::Process qw(build_dir program sanitizer scratch_dir slurp spawn wait_until);
use IO::Select;
use IO::Socket::INET;
use Test::More;
use Time::HiRes qw(sleep time);

my $http = Hearth::Daemon::free_port();
my $daemon = Hearth::Daemon->start(args => ['-m', 64, '--http', $http, '--snapshot-interval', 0]);

# ---- routes and headers ----
my %type = ('/' => 'text/html; charset=utf-8', '/metrics' => 'text/plain; version=0.0.4; charset=utf-8',
	'/healthz' => 'text/plain; charset=utf-8', '/readyz' => 'text/plain; charset=utf-8');
for my $path (sort keys %type) {
	my $a = get($http, $path);
	is($a->{code}, 200, "GET $path");
	is($a->{headers}{'content-type'}, $type{$path}, "$path: its type");
	is($a->{headers}{'content-length'}, length $a->{body}, "$path: its length");
	is($a->{headers}{'x-content-type-options'}, 'nosniff', "$path: its type is not to be guessed");
	is($a->{headers}{'cache-control'}, 'no-store', "$path: it is not to be kept");
	is($a->{headers}{'x-frame-options'}, 'DENY', "$path: not in a frame");
	like($a->{headers}{'content-security-policy'}, qr/^default-src 'none';.*frame-ancestors 'none'/, "$path: a policy");
	my $head = get($http, $path, method => 'HEAD');
	is("$head->{code} $head->{body}", '200 ', "HEAD $path: no body");
	is($head->{headers}{'content-type'}, $type{$path}, "HEAD $path: the same type");
	# What is counted moves on between the two.
	cmp_ok($head->{headers}{'content-length'}, '>', length($a->{body}) - 100, "HEAD $path: the length it would have");
}
is(get($http, '/healthz')->{body}, "alive\n", '/healthz in words');
is(get($http, '/readyz')->{body}, "ready\n", '/readyz in words');
is(get($http, '/readyz?x=1')->{code}, 200, 'a query is no part of the path');
is(get($http, "http://localhost:$http/healthz")->{body}, "alive\n", 'an absolute address');
is(request($http, "GET /healthz HTTP/1.0\r\n\r\n")->{body}, "alive\n", 'HTTP/1.0, without a name');

my ($one, $two) = map { get($http, '/') } 1, 2;
my @nonce = map { $_->{headers}{'content-security-policy'} =~ /script-src 'nonce-([0-9a-f]{32})'/ } $one, $two;
is(scalar @nonce, 2, 'the page allows scripts that carry a word');
isnt($nonce[0], $nonce[1], 'another one each time');
my @carried = $one->{body} =~ /<(?:script|style) nonce="(\w+)"/g;
is("@carried", "$nonce[0] $nonce[0]", 'which its script and its style carry');
unlike($one->{body}, qr/\@\w+\@|(?:src|href)="(?!data:|\/)|url\(|\@import/, 'it uses nothing from elsewhere');
is($one->{body} =~ s/\Q$nonce[0]\E/\@NONCE\@/gr, slurp('src/server/page.html'), 'else it is the file');

# ---- what is refused ----
for my $path ('/nope', '/metrics/', '/x//', '/../etc/passwd', '/%2e%2e/', '/metrics%00') {
	is(get($http, $path)->{code}, 404, "GET $path: not found");
}
for my $method (qw(POST PUT DELETE PATCH OPTIONS)) {
	my $a = request($http, "$method / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc");
	is("$a->{code} " . ($a->{headers}{allow} // ''), '405 GET, HEAD', "$method: not allowed");
}
is(request($http, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n")->{code}, 413, 'a large body');
is(get($http, '/' . 'x' x 2000)->{code}, 414, 'a long address');
is(get($http, '/metrics', name => $_)->{code}, 421, "the name $_") for 'example.org', 'localhost.example.org', '1.2.3.4.example';
is(get($http, '/metrics', name => $_)->{code}, 200, "the name $_")
    for "localhost:$http", "127.0.0.1:$http", "[::1]:$http", 'LOCALHOST';
for my $case (['long headers', "GET / HTTP/1.1\r\nX: " . 'x' x 40000 . "\r\n\r\n"], ['no HTTP', "set k 0 0 1\r\nx\r\n"],
	['an unknown method', "BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n"], ['zeros', "\0" x 1000 . "\r\n\r\n"],
	['TLS', "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"], ['a header without a colon', "GET / HTTP/1.1\r\nnonsense\r\n\r\n"],
	['a length that is none', "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n"],
	['a length beyond all', "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n"],
	['chunks that are none', "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n"]) {
	my ($what, $bytes) = @$case;
	my $code = request($http, $bytes)->{code};
	ok($code == 0 || $code >= 400, "$what: refused ($code)");
}
my $seed = $ENV{HEARTH_SEED} // int(rand 1e9);
srand $seed;
my @parts = ("GET ", "POST ", "/metrics", "/", " HTTP/1.1", " HTTP/9.9", "\r\n", "\r\n", "\r\n\r\n", "Host: ", "localhost", ":", "\0",
	"Content-Length: ", "4", "-1", "Transfer-Encoding: chunked", "\xff\xfe", "%", "?", "x" x 300, "Connection: keep-alive", "Expect: 100-continue");
for (1 .. 300) {
	my $s = connect_to($http) or next;
	syswrite $s, join '', map { $parts[rand @parts] } 1 .. rand 14;
	shutdown $s, 1 if rand() < 0.5;
	IO::Select->new($s)->can_read(0.002) and sysread $s, my $ignored, 1000;
}
is(get($http, '/readyz')->{code}, 200, "it answers after 300 nonsensical connections, seed $seed");
unlike($daemon->errors, qr/\[(?:warn|err)\]/, 'and has not complained');

# ---- what a client can cost ----
my @silent = grep { defined } map { connect_to($http) } 1 .. 80;
is(scalar @silent, 80, '80 connections that say nothing');
# Those that are taken hold a descriptor of the daemon each, the others wait in the kernel's queue.
sub taken
{
	my $want = sprintf ':%04X', $http;
	my %inode = map { (split ' ')[9] => 1 } grep { (split ' ')[1] =~ /$want$/ && (split ' ')[3] eq '01' }
	    split /\n/, slurp('/proc/net/tcp');
	return scalar grep { (readlink($_) // '') =~ /^socket:\[(\d+)\]/ && $inode{$1} } glob '/proc/' . $daemon->pid . '/fd/*';
}
sleep 1.5;
is(taken(), 32, '32 are taken');
my $c = $daemon->client;
is($c->ask("version\r\n") =~ /^VERSION/, 1, 'clients of the cache are served meanwhile');
close $_ for splice @silent;
is(wait_until('a place', sub { (get($http, '/healthz') // {})->{body} }, 60), "alive\n", 'once they leave others are answered');
my $slow = connect_to($http);
my $begun = time;
my $dripped = 0;
# A byte now and then: silence is never long enough, the whole is too long.
while (time < $begun + 90) {
	defined syswrite($slow, $dripped ? 'x' : 'GET /') or last;
	last if IO::Select->new($slow)->can_read(1) && !sysread $slow, my $ignored, 100;
	$dripped++;
}
cmp_ok($dripped, '<', 89, 'one that drips is shown out');
is(taken(), 0, 'and nobody is left');

# ---- metrics ----
$c->set("k$_", 'v' x 100) for 1 .. 50;
$c->ask("get k$_\r\n"), $c->{input} = '' for 1 .. 3;
$c->items('get nope1 nope2');
$c->ask("incr nope 1\r\n");
$c->ask("delete k1\r\n");
$c->ask("delete nope\r\n");
$c->ask("touch k2 1000\r\n");
$c->ask("touch nope 1000\r\n");
my $cas = $c->gets('k3')->{cas};
$c->store('cas', 'k3', 2, cas => $cas);
$c->store('cas', 'k3', 2, cas => $cas);
$c->store('cas', 'nope', 2, cas => $cas);
kill 'USR2', $daemon->pid;
wait_until('a snapshot', sub { $c->stats('persist')->{snapshots} }, 60);
wait_until('a sync', sub { my $p = $c->stats('persist'); $p->{durable_seq} == $p->{last_seq} }, 60);
# Figures are collected ten times a second at most; those of `stats` move while it is asked.
sleep 0.2;
my $stats = $c->stats;
my $persist = $c->stats('persist');
my ($m, $about, @wrong) = read_metrics(get($http, '/metrics')->{body});
is(join("\n", @wrong), '', 'the format holds, line by line');
my %same = (current_bytes => 'bytes', limit_bytes => 'limit_maxbytes', current_items => 'curr_items', items_total => 'total_items',
	items_evicted_total => 'evictions', items_reclaimed_total => 'reclaimed', current_connections => 'curr_connections',
	connections_total => 'total_connections', connections_rejected_total => 'rejected_connections', max_connections => 'max_connections',
	connections_yielded_total => 'conn_yields', connections_listener_disabled_total => 'listen_disabled_num',
	item_too_large_total => 'store_too_large', item_no_memory_total => 'store_no_memory', accepting_connections => 'accepting_conns');
is($m->{"memcached_$_"}, $stats->{$same{$_}}, "memcached_$_ is $same{$_}") for sort keys %same;
for my $op (qw(get delete incr decr cas touch)) {
	is($m->{qq(memcached_commands_total{command="$op",status="hit"})}, $stats->{"${op}_hits"}, "$op hits");
	is($m->{qq(memcached_commands_total{command="$op",status="miss"})}, $stats->{"${op}_misses"}, "$op misses");
}
is($m->{'memcached_commands_total{command="cas",status="badval"}'}, $stats->{cas_badval}, 'cas badval');
is($m->{'memcached_commands_total{command="set",status="hit"}'},
	$stats->{cmd_set} - $stats->{cas_hits} - $stats->{cas_misses} - $stats->{cas_badval}, 'sets, but for cas');
cmp_ok($m->{'memcached_commands_total{command="set",status="hit"}'}, '>=', 50, 'which are those that were sent');
is($m->{'memcached_commands_total{command="flush",status="hit"}'}, $stats->{cmd_flush}, 'flushes');
is($m->{qq(memcached_version{version="$stats->{version}"})}, 1, 'the version');
is($m->{memcached_up}, 1, 'memcached_up');
cmp_ok(abs $m->{memcached_time_seconds} - time, '<', 60, 'the time');
cmp_ok($m->{memcached_read_bytes_total}, '<=', $stats->{bytes_read} + 100, 'bytes read');
my %own = (log_segments => 'log_segments', log_bytes => 'log_bytes', log_written_bytes_total => 'log_written_bytes', log_last_record => 'last_seq',
	log_written_record => 'written_seq', log_durable_record => 'durable_seq', snapshots_total => 'snapshots',
	snapshot_errors_total => 'snapshot_errors', snapshot_last_items => 'last_snapshot_items', snapshot_last_bytes => 'last_snapshot_bytes',
	snapshot_last_timestamp_seconds => 'last_snapshot_time', memory_used_bytes => 'memory_used', index_bytes => 'index_bytes',
	regions => 'regions', regions_free => 'regions_free', recovery_items => 'recovery_items', heals_total => 'heals',
	changes_refused_total => 'refused_changes', disk_reserve_bytes => 'reserve_bytes', scrub_errors_total => 'scrub_errors');
is($m->{"hearth_$_"}, $persist->{$own{$_}}, "hearth_$_ is $own{$_}") for sort keys %own;
is($m->{'hearth_state_info{state="healthy",reason=""}'}, 1, 'the state');
is($m->{hearth_degraded}, 0, 'not degraded');
is($m->{hearth_fsync_seconds_count}, $persist->{log_syncs}, 'as many syncs as were made');
is($m->{'hearth_fsync_seconds_bucket{le="+Inf"}'}, $m->{hearth_fsync_seconds_count}, 'all of them are in the last step');
my @buckets = map { $m->{$_} } sort { ($a =~ /"([\d.]+)"/)[0] <=> ($b =~ /"([\d.]+)"/)[0] } grep { /^hearth_fsync_seconds_bucket.*"\d/ } keys %$m;
is("@buckets", join(' ', sort { $a <=> $b } @buckets), 'steps are cumulative');
cmp_ok($m->{hearth_fsync_seconds_sum}, '>=', $m->{hearth_fsync_max_seconds}, 'their sum is at least the longest');
my $duration = 'hearth_request_duration_seconds';
my $timed = $c->stats('latency');
for my $kind (qw(get set)) {
	my %step = map { /^${duration}_bucket\{command="$kind",le="(.*)"\}$/ ? ($1 => $m->{$_}) : () } keys %$m;
	my $all = delete $step{'+Inf'};
	my @le = sort { $a <=> $b } keys %step;
	is("$le[0] $le[-1] " . @le, '1e-06 10 22', "$kind: steps from a microsecond to ten seconds");
	is(join(' ', map { $step{$_} } @le), join(' ', sort { $a <=> $b } values %step), "$kind: they are cumulative");
	cmp_ok($all, '>=', $step{10}, "$kind: all of them are in the last step");
	is($m->{qq(${duration}_count{command="$kind"})}, $all, "$kind: which is the count");
	is($timed->{"latency_${kind}_timed"}, $all, "$kind: as in stats latency");
	my ($sum, $count) = ($m->{qq(${duration}_sum{command="$kind"})}, 0);
	# Each is longer than its step's beginning, and none than its end.
	my ($least, $most, $before, $from) = (0, 0, 0, 0);
	for my $le (@le) {
		$least += ($step{$le} - $before) * $from;
		$most += ($step{$le} - $before) * $le;
		($before, $from) = ($step{$le}, $le);
	}
	cmp_ok($sum, '>=', $least, "$kind: the sum is no less than the steps say");
	cmp_ok($sum, '<=', $most + 1e-9, "$kind: nor more") if $all == $step{10};
}
like($about->{$duration}{help} // '', qr/sampled turn of a connection in 64/, 'it says that it is sampled');
cmp_ok($m->{hearth_filesystem_size_bytes}, '>=', $m->{hearth_filesystem_free_bytes}, 'the file system');
is(scalar(grep { /^hearth_(?:disk_limit|compress)/ } keys %$m), 0, 'what is not in use is not shown');
my @slabs = grep { /slab|lru_crawler|extstore|proxy/ } grep { !/malloced/ } keys %$about;
is("@slabs", '', 'nor what Hearth does not have');
my $start = $m->{process_start_time_seconds};
is($c->ask("stats reset\r\n"), 'RESET', 'stats reset');
sleep 0.3;
$m = metrics($http);
is($m->{'memcached_commands_total{command="get",status="miss"}'}, 0, 'counters begin again, as those of stats do');
is($m->{process_start_time_seconds}, $start, 'the start stays what it was');

# Many at once, while the cache is used.
my $load = fork // die;
if (!$load) {
	my $busy = $daemon->client;
	$busy->set('b' . $_ % 100, 'x' x 200) for 1 .. 4000;
	require POSIX;
	POSIX::_exit(0);
}
my ($answers, $last, $timed_sets, @back) = (0, 0, 0);
while (!waitpid $load, 1) {
	my ($v, undef, @bad) = read_metrics(get($http, '/metrics')->{body});
	push @back, @bad;
	push @back, 'sets went back' if $v->{'memcached_commands_total{command="set",status="hit"}'} < $last;
	$last = $v->{'memcached_commands_total{command="set",status="hit"}'};
	my $sets = $v->{'hearth_request_duration_seconds_count{command="set"}'};
	push @back, 'timed sets went back' if $sets < $timed_sets;
	$timed_sets = $sets;
	$answers++;
}
is(join("\n", @back), '', "$answers scrapes under load: format and order hold");
cmp_ok(metrics($http)->{'hearth_request_duration_seconds_count{command="set"}'}, '>', $m->{'hearth_request_duration_seconds_count{command="set"}'},
	'sets were timed meanwhile');
is($daemon->stop, 0, 'it stops in order');
is(get($http, '/healthz'), undef, 'nobody listens any more');

# ---- other addresses, other directories ----
my %where = (":$http" => ['127.0.0.1'], "127.0.0.1:$http" => ['127.0.0.1'], "localhost:$http" => ['127.0.0.1']);
if (IO::Socket::IP->new(LocalHost => '::1', Listen => 1)) {
	$where{"[::1]:$http"} = ['::1'];
	push @{ $where{":$http"} }, '::1';
}
for my $where (sort keys %where) {
	my $d = Hearth::Daemon->start(dir => 'none', args => ['--http', $where]);
	is(get($http, '/readyz', host => $_)->{body}, "ready\n", "--http $where: $_") for @{ $where{$where} };
	is($d->stop, 0, 'stops');
}
$daemon = Hearth::Daemon->start(dir => 'none', args => ['--http', 0, '--compress', '-M']);
my ($given) = $daemon->errors =~ /HTTP on port (\d+)/;
my $any = Hearth::Daemon->start(dir => 'none', args => ['--http', '*:0']);
my ($other) = $any->errors =~ /HTTP on port (\d+)/;
is(get($other, '/readyz', host => $_)->{body}, "ready\n", "--http *:0: $_") for '127.0.0.1', '127.0.0.2';
$any->stop;
$m = metrics($given);
is($m->{hearth_persistent}, 0, '--http 0 takes a free port; --data-dir none: nothing is kept');
is(scalar(grep { /log|snapshot|fsync|recovery|disk|filesystem/ } keys %$m), 0, 'so there are no figures of it');
ok(exists $m->{hearth_compress_sets_total}, '--compress has figures of its own');
$daemon->stop;
$daemon = Hearth::Daemon->start(args => ['--http', $http, '--max-disk', '4g']);
$m = metrics($http);
is($m->{hearth_disk_limit_bytes}, 4 << 30, '--max-disk has figures of its own');
cmp_ok($m->{hearth_disk_bytes}, '>', 0, 'what the directory takes');
$daemon->stop;

# ---- refusals ----
for my $case ([64, 'nothing'], [64, '127.0.0.1'], [64, '127.0.0.1:'], [64, '1:2:3'], [64, '70000'], [64, '127.0.0.1:70000'], [64, '[::1]'], [64, ':x'],
	[69, '192.0.2.1:80'], [69, 'no.such.name.invalid:8080']) {
	my ($want, $where) = @$case;
	my ($code, $err) = Hearth::Daemon->refused('--data-dir', 'none', '--http', $where);
	is($code, $want, "--http $where: exit code $want");
	like($err, qr/--http \Q$where\E: /m, "--http $where: the message names it");
}
my $holder = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1) or die;
my $dir = scratch_dir();
my ($code, $err) = Hearth::Daemon->refused('--data-dir', "$dir/data", '--http', $holder->sockport);
is($code, 69, 'a port in use: 69');
like($err, qr/--http (\d+): 127.0.0.1 port \1: Address already in use/, 'and the message says so');
ok(!-e "$dir/data", 'the directory is not even made');

# ---- while it loads, and at its end ----
SKIP: {
	skip 'no strace under a sanitizer', 12 if sanitizer();
	$daemon = Hearth::Daemon->start(args => ['-m', 200, '--snapshot-interval', 0, '--snapshot-log-ratio', 0]);
	$c = $daemon->client;
	my $value = join '', map { chr rand 256 } 1 .. 4000;
	$c->set("k$_", $value ^ pack 'N*', ($_ * 2654435761 & 0xffffffff) x 1000) for 1 .. 6000;
	kill 'USR2', $daemon->pid;
	wait_until('a snapshot', sub { $c->stats('persist')->{snapshots} }, 60);
	$daemon->kill9;
	my @logs = map { ('-P', $_) } glob $daemon->dir . '/{log,snapshot}-*';
	# Each read is held for a while.
	$daemon->{prefix} = ['strace', '-D', '-f', '-o', '/dev/null', @logs, '-e', 'trace=pread64', '-e', 'inject=pread64:delay_enter=50000'];
	$daemon->{args} = ['-m', 200, '--http', $http, '--snapshot-interval', 0];
	$daemon->{port} = Hearth::Daemon::free_port();
	$daemon->{err_start} = -s $daemon->{errors};
	$daemon->{pid} = spawn([$daemon->command], err => $daemon->{errors});
	my ($first, %seen, @ratios, @format);
	wait_until('loading to end', sub {
		my $ready = get($http, '/readyz') or return 0;
		$first //= $ready;
		return 1 if $ready->{code} == 200;
		$seen{"$ready->{code} $ready->{body}"} = $ready->{headers}{'retry-after'};
		$seen{health} .= get($http, '/healthz')->{body};
		$seen{page} = get($http, '/')->{code};
		my ($v, undef, @bad) = read_metrics(get($http, '/metrics')->{body});
		push @format, @bad;
		push @ratios, $v->{hearth_load_progress_ratio} if $v->{hearth_loading};
		$seen{up} = $v->{memcached_up} if $v->{hearth_loading};
		sleep 0.05;
		return 0;
	}, 120);
	is($first->{code}, 503, '/readyz while loading: 503');
	my @told = grep { /^503/ } keys %seen;
	is(join('|', grep { !/^503 loading \d{1,3} %(?:, \d+ s left)?\n\z/ } @told), '', 'with how far it is');
	ok((grep { / s left/ } @told), 'and how long it will take');
	is(scalar(grep { !/^[1-9]\d*$/ } map { $seen{$_} } @told), 0, 'and when to ask again');
	like($seen{health}, qr/^(?:alive\n)+\z/, '/healthz while loading: alive');
	is($seen{page}, 200, 'the page is there');
	is($seen{up}, 0, 'memcached_up is 0');
	is(join("\n", @format), '', 'the format of /metrics holds');
	cmp_ok(scalar(grep { $_ > 0 && $_ < 1 } @ratios), '>', 0, 'the progress moves');
	is("@ratios", join(' ', sort { $a <=> $b } @ratios), 'forwards');
	$daemon->wait_ready;
	$m = metrics($http);
	is("$m->{hearth_loading} $m->{memcached_up} $m->{hearth_recovery_items}", '0 1 6000', 'then it serves');
	cmp_ok($m->{hearth_recovery_seconds}, '>', 0, 'and says how long it took');
	kill 'TERM', $daemon->pid;
	is($daemon->ended, 0, 'and ends in order');
}
SKIP: {
	skip 'no strace under a sanitizer', 3 if sanitizer();
	# The last sync of the log is held, so that the end takes a while.
	$daemon = Hearth::Daemon->start(args => ['--http', $http, '--fsync', 'os', '--snapshot-interval', 0],
		prefix => ['strace', '-D', '-f', '-o', '/dev/null', '-e', 'trace=fdatasync', '-e', 'inject=fdatasync:delay_enter=3000000']);
	$c = $daemon->client;
	$c->set('k', 'v');
	kill 'TERM', $daemon->pid;
	my $stopping = wait_until('it to stop', sub { my $r = get($http, '/readyz'); $r && $r->{code} == 503 ? $r : !$r }, 30);
	is(ref $stopping && "$stopping->{code} $stopping->{body}", "503 stopping\n", '/readyz at the end: 503 stopping');
	is(get($http, '/healthz')->{code}, 200, 'which is alive');
	is($daemon->ended, 0, 'ends in order');
}
done_testing();
