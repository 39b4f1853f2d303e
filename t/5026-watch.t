#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# watch tells each kind of event to who asked for it, and leaves out, counted, what is not read; stats detail counts by
# prefix; stats cachedump lists keys; silent connections are closed after -o idle_timeout.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Client;
use Hearth::Daemon;
use Hearth::Process qw(wait_until);
use Test::More;
use Time::HiRes qw(sleep);

my $daemon = Hearth::Daemon->start(dir => 'none', args => ['-m', 64, '-t', 2, '-o', 'watcher_logbuf_size=8']);
my $client = $daemon->client;

sub watcher
{
	my ($what) = @_;
	my $c = $daemon->client;
	is($c->ask("watch$what\r\n"), 'OK', "watch$what");
	return $c;
}

# The next line without what differs from run to run.
sub told
{
	my ($c) = @_;
	while ($c->{input} !~ /\n/) {
		$c->fill or return undef;
	}
	$c->{input} =~ s/^(.*)\n//;
	my $line = $1;
	$line =~ s/^ts=\d+\.\d{6} gid=\d+ // or return $line;
	return $line =~ s/cfd=\d+/cfd=N/r;
}

# What is answered up to END, which comes last.
sub answer
{
	my ($c, $command) = @_;
	my @lines = $c->ask("$command\r\n");
	push @lines, $c->line while $lines[-1] !~ /^(?:END|[A-Z]+_ERROR.*)$/;
	return @lines;
}

# ---- one kind each ----
my $fetchers = watcher('');
my $mutations = watcher(' mutations');
my $deletions = watcher(' deletions');
my $all = watcher(' fetchers mutations deletions');
$client->get('none');
is(told($fetchers), 'type=item_get key=none status=not_found clsid=0 cfd=N size=0', 'a miss');
$client->set('a b' =~ tr/ /#/r, 'value', exptime => 100);
is(told($fetchers), 'type=item_get key=a%23b status=not_found clsid=0 cfd=N size=0', 'a set looks first');
is(told($mutations), 'type=item_store key=a%23b status=stored cmd=set ttl=100 clsid=1 cfd=N size=5', 'and stores');
$client->get('a#b');
is(told($fetchers), 'type=item_get key=a%23b status=found clsid=1 cfd=N size=5', 'a hit');
$client->ask("add a#b 0 0 1\r\nx\r\n");
is(told($fetchers), 'type=item_get key=a%23b status=found clsid=1 cfd=N size=5', 'an add looks');
is(told($mutations), 'type=item_store key=a%23b status=not_stored cmd=add ttl=0 clsid=1 cfd=N size=1', 'and stores nothing');
is($client->ask("mg a#b v\r\n"), 'VA 5', 'mg');
$client->line;
is(told($fetchers), 'type=item_get key=a%23b status=found clsid=1 cfd=N size=5', 'is a fetch');
is($client->ask("ms m 2\r\nab\r\n"), 'HD', 'ms');
told($fetchers);
is(told($mutations), 'type=item_store key=m status=stored cmd=ms ttl=0 clsid=1 cfd=N size=2', 'is a mutation');
is($client->ask("delete a#b\r\n"), 'DELETED', 'delete');
is(told($deletions), 'type=deleted key=a%23b cmd=delete clsid=1 cfd=N size=5', 'is a deletion');
is($client->ask("delete a#b\r\n"), 'NOT_FOUND', 'of nothing');
is($client->ask("md m\r\n"), 'HD', 'md');
is(told($deletions), 'type=deleted key=m cmd=md clsid=1 cfd=N size=2', 'is one, and that of nothing was none');
my $long = '#' x 250;
$client->set($long, 'v');
is(told($mutations), "type=item_store key=${\('%23' x 250)} status=stored cmd=set ttl=0 clsid=1 cfd=N size=1", 'the longest key');
my @seen = map { told($all) } 1 .. 12;
is(join(' ', map { (split / /)[0] =~ s/type=//r } @seen),
	'item_get item_get item_store item_get item_get item_store item_get item_get item_store deleted deleted item_get',
	'who asked for all is told all, in order');
my $open = $client->stats->{curr_connections};
$_->close for $fetchers, $mutations, $deletions, $all;
# Another worker may be late to see them go, and the next watcher would be told.
wait_until('they are gone', sub { $client->stats->{curr_connections} == $open - 4 });

# ---- connections ----
my $conns = watcher(' connevents');
my $other = $daemon->client;
like(told($conns), qr/^type=conn_new rip=127\.0\.0\.1 rport=\d+ transport=tcp cfd=N$/, 'one that comes');
$other->put("quit\r\n");
like(told($conns), qr/^type=conn_close rip=127\.0\.0\.1 rport=\d+ transport=tcp reason=normal cfd=N$/, 'one that goes');
$other = $daemon->client;
told($conns);
$other->put("GET / HTTP/1.1\r\n");
like(told($conns), qr/reason=error/, 'one that is sent away');
$conns->close;

# ---- who does not read ----
my $slow = watcher('');
my ($sent, $stats) = (0);
do {
	# Until the sockets' own buffers are full, too.
	$client->put(join '', map { "get missing-$_\r\n" } $sent + 1 .. $sent + 1000);
	$client->line for 1 .. 1000;
	$sent += 1000;
	$stats = $client->stats;
} while (!$stats->{log_watcher_skipped} && $sent < 1_000_000);
is($stats->{log_watchers}, 1, 'one watches');
cmp_ok($stats->{log_watcher_skipped}, '>', 0, 'what it does not read is left out');
my ($gap, $read) = (0, 0);
while (!$gap) {
	my $line = told($slow);
	$read++;
	$client->get('again') if $read % 50 == 0;
	$gap = $1 if $line =~ /^skipped=(\d+)$/;
}
cmp_ok($gap, '>', 0, 'and it is told how much, where it was');
like(told($slow), qr/^type=item_get/, 'then it goes on');
$slow->close;
wait_until('nobody to watch', sub { $client->stats->{log_watchers} == 0 });
pass('who leaves watches no more');

# ---- evictions ----
$client->ask("delete $long\r\n");
my $evictions = watcher(' evictions');
my $value = 'v' x 10_000;
for my $i (1 .. 9000) {
	$client->put("set fill$i 0 0 10000 noreply\r\n$value\r\n");
}
like(told($evictions), qr/^type=eviction key=fill\d+ fetch=no ttl=-1 la=\d+ clsid=1 size=10000$/, 'an eviction');
is($client->ask("mn\r\n"), 'MN', 'the rest was taken');
$evictions->close;

# ---- what is refused ----
is($client->ask("watch nothing\r\n"), 'ERROR', 'an unknown kind');
$client->put("version\r\nwatch\r\n");
like($client->line, qr/^VERSION/, 'before a watch');
is($client->line, 'ERROR cannot pipeline other commands before watch', 'nothing may come');
my $flushed = $daemon->client;
$flushed->put("mn\r\nwatch\r\n");
is($flushed->line . $flushed->line, 'MNOK', 'but for what mn has sent');
$flushed->close;
wait_until('nobody watches again', sub { $client->stats->{log_watchers} == 0 });
my @many = map { watcher(' sysevents rawcmds') } 1 .. 20;
is($client->ask("watch\r\n"), 'WATCHER_TOO_MANY log watcher limit reached', 'twenty are enough');
$_->close for @many;
$daemon->stop;
my $mute = Hearth::Daemon->start(dir => 'none', args => ['-W']);
is($mute->client->ask("watch\r\n"), 'CLIENT_ERROR watch commands not allowed', 'with -W nobody watches');
$mute->stop;

# ---- stats detail ----
$daemon = Hearth::Daemon->start(dir => 'none');
$client = $daemon->client;
sub detail { return join ' ', sort grep { $_ ne 'END' } answer($client, 'stats detail dump'); }
is(detail(), '', 'nothing is counted');
is($client->ask("stats detail on\r\n"), 'OK', 'until somebody asks');
$client->set('foo:1', 'v');
$client->get('foo:1');
$client->get('foo:2');
$client->get('nothing');
$client->ask("delete foo:3\r\n");
is($client->ask("ms bar:1 1\r\nx\r\n"), 'HD', 'a meta set');
is(detail(), 'PREFIX bar get 0 hit 0 set 1 del 0 PREFIX foo get 2 hit 1 set 1 del 1', 'by prefix');
is($client->ask("stats reset\r\n"), 'RESET', 'reset');
is(detail(), '', 'empties it');
is($client->ask("stats detail off\r\n"), 'OK', 'off');
$client->get('foo:1');
is(detail(), '', 'counts no more');
like($client->ask("stats detail\r\n"), qr/^CLIENT_ERROR usage/, 'without a word');
my $slash = Hearth::Daemon->start(dir => 'none', args => ['-D', '/']);
my $c = $slash->client;
$c->get('a/b');
is(join(' ', answer($c, 'stats detail dump')), 'PREFIX a get 1 hit 0 set 0 del 0 END', '-D: on, by its character');
$slash->stop;

# ---- stats cachedump ----
my $past = time;
$client->set('timed', 'vvv', exptime => 500);
is($client->ask("ms YWI= 3 b\r\nabc\r\n"), 'HD', 'a coded key');
my @dump = answer($client, 'stats cachedump 1 0');
is(scalar(grep { /^ITEM foo:1 \[1 b; 0 s\]$/ } @dump), 1, 'an item for ever');
my ($time) = map { /^ITEM timed \[3 b; (\d+) s\]$/ ? $1 : () } @dump;
ok(abs($time - $past - 500) < 60, 'one with its time');
is(scalar(grep { /^ITEM/ } @dump), 3, 'all but the coded key');
is(scalar(my @two = answer($client, 'stats cachedump 1 2')), 3, 'as many as are asked for');
is($client->ask("stats cachedump 2 0\r\n"), 'END', 'all is in one class');
is($client->ask("stats cachedump 63 0\r\n"), 'CLIENT_ERROR Illegal slab id', 'which is a class of memcached');
$daemon->stop;

# ---- -o idle_timeout ----
$daemon = Hearth::Daemon->start(dir => 'none', args => ['-o', 'idle_timeout=2', '-t', 1]);
my ($idle, $busy, $halfway) = map { $daemon->client } 1 .. 3;
is($idle->ask("mn\r\n"), 'MN', 'one is silent from here on');
$halfway->put("set half 0 0 10\r\nabc");
wait_until('two kicks', sub { $busy->ask("mn\r\n"); $busy->stats->{idle_kicks} >= 2 });
pass('it is closed, and one in the middle of a request');
ok(!defined $_->line, 'nothing more comes') for $idle, $halfway;
is($busy->ask("mn\r\n"), 'MN', 'who speaks stays');
is($busy->stats('settings')->{idle_timeout}, 2, 'stats settings shows it');
$daemon->stop;
done_testing();
