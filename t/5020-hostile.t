#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# Clients that are slow, rude or hostile: the daemon keeps its memory bounded, goes on serving the others, and never
# falls over.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Process qw(slurp sanitizer wait_until);
use IO::Select;
use Test::More;

my $daemon = Hearth::Daemon->start(args => ['-m', 64, '-t', 2, '-c', 200]);
my $c = $daemon->client;

sub rss { slurp('/proc/' . $daemon->pid . '/status') =~ /^VmRSS:\s+(\d+)/m; return $1 / 1024; }
sub serves { my ($what) = @_; return is($c->set('probe', $what) . $c->get('probe'), "STORED$what", "serves on: $what"); }

# ---- replies that nobody reads ----
my $value = 'v' x 500_000;
$c->set("big$_", $value) for 1 .. 20;
my $keys = join ' ', map { "big$_" } 1 .. 20;
my $before = rss();
my @unread;
for (1 .. 20) {
	my $rude = $daemon->client;
	$rude->socket->blocking(0);
	my $ask = "get $keys\r\n" x 50; # 500 MB each
	syswrite $rude->socket, $ask;
	push @unread, $rude;
}
serves("round $_") for 1 .. 5;
select undef, undef, undef, 0.3;
my $grown = rss() - $before;
cmp_ok($grown, '<', 200, sprintf 'unread replies of 10 GB keep %d MB', $grown) unless sanitizer();
serves('with unread replies');
# One of them reads after all and gets all of it.
my $late = $unread[0];
$late->socket->blocking(1);
my $ends = 0;
while ($ends < 50) {
	my $line = $late->line // last;
	$ends++ if $line eq 'END';
	$late->bytes($1 + 2) if $line =~ /^VALUE \S+ \d+ (\d+)/;
}
is($ends, 50, 'who reads late gets everything');
$_->close for @unread;
serves('after they went');

# ---- lines without end, and lengths beyond reason ----
my @rude = (
	['a line without end', 'x' x 100_000, qr/\A(?:ERROR\r\n|CLIENT_ERROR [^\n]*\n)?\z/],
	['a set without end', 'set ' . 'k' x 100_000, qr/\A(?:CLIENT_ERROR [^\n]*\n)?\z/],
	['a length of 2^63', "set k 0 0 9223372036854775808\r\nversion\r\n", qr/\ACLIENT_ERROR bad command line format\r\n/],
	['a length of 2 GiB', "set k 0 0 2147483645\r\nxxxx", qr/\ASERVER_ERROR object too large for cache\r\n\z/],
	['a length that is none', "set k 0 0 0x10\r\nversion\r\n", qr/\ACLIENT_ERROR bad command line format\r\n/],
	['a request of another protocol', "GET / HTTP/1.1\r\nHost: a\r\n\r\n", qr/\A\z/],
	['noise', join('', map { chr int rand 128 } 1 .. 3000), qr/./s],
	['zeros', "\0" x 5000, qr/\A(?:ERROR\r\n)?\z/],
);
for (@rude) {
	my ($what, $bytes, $answer) = @$_;
	my $client = $daemon->client;
	like($client->stream($bytes), $answer, $what);
	serves($what);
}
my $keys_long = $daemon->client;
$keys_long->put('get');
$keys_long->put(' ' . join ' ', map { 'k' x 240 } 1 .. 400) for 1 .. 50;
is($keys_long->ask("\r\n"), 'END', 'a get of 5 MB of keys');

# ---- half-open and half-done ----
my @half = map { $daemon->client } 1 .. 50;
$_->put("set half 0 0 1000000\r\nxxx") for @half;
serves('beside 50 unfinished stores');
my $rss = rss();
cmp_ok($rss, '<', 64 + 200, sprintf 'which take %d MB in all', $rss) unless sanitizer();
$_->close for @half;
is($c->get('half'), undef, 'and store nothing');

# ---- as many pipelined commands as one likes, unread ----
my $writer = $daemon->client;
my $pid = fork // die;
if (!$pid) {
	$writer->put("set p 0 0 1\r\nx\r\n" x 300_000);
	POSIX::_exit(0);
}
serves('beside 300000 pipelined stores');
my $stored = 0;
$stored++ while $stored < 300_000 && $writer->line eq 'STORED';
waitpid $pid, 0;
is($stored, 300_000, 'all are answered');

# ---- more connections than -c ----
my @many = map { Hearth::Client->new($daemon->address, quiet => 1) } 1 .. 230;
my @refused = grep { ($_->ask("version\r\n") // '') !~ /^VERSION/ } map { $_ } @many[200 .. 229];
cmp_ok(scalar @refused, '>=', 25, 'connections beyond -c are refused');
is($many[5]->ask("version\r\n"), 'VERSION 1.6.45', 'those within are served');
$_->close for @many;
wait_until('room for new connections', sub {
	my $new = Hearth::Client->new($daemon->address, quiet => 1);
	return $new && ((eval { $new->ask("version\r\n") }) // '') =~ /^VERSION/;
});
serves('at the end');
is($daemon->stop, 0, 'stops in order');

# ---- -o read_buf_mem_limit: the smallest share, two buffers and 32 answers a worker ----
$daemon = Hearth::Daemon->start(dir => 'none', args => ['-t', 32, '-R', 500, '-o', 'read_buf_mem_limit=1']);
$c = $daemon->client;
my $refusal = 'SERVER_ERROR out of memory writing get response';
is($c->ask('get ' . join(' ', ('k') x 32) . "\r\n"), 'END', 'a get of as many keys as may be');
is($c->ask('get ' . join(' ', ('k') x 33) . "\r\n"), $refusal, 'of one more');
is($c->ask('get ' . join(' ', ('k') x 5000) . "\r\n"), $refusal, 'of many more');
is($c->ask("mn\r\n"), 'MN', 'which leave the connection as it was');
my $stacked = $daemon->client;
$stacked->put("mg k v\r\n" x 400);
is(eval { $stacked->line }, undef, 'a connection with more answers stacked up is closed, without any of them');
is($daemon->client->stats->{response_obj_oom}, 3, 'stats counts them');
@half = map { $daemon->client } 1 .. 160;
$_->put("set half 0 0 2\r\n") for @half;
wait_until('unfinished stores without a buffer', sub {
	IO::Select->new(map { $_->socket } @half)->can_read(0.1) >= 64;
});
$_->close for @half;
wait_until('connections without a buffer are counted', sub {
	my $new = Hearth::Client->new($daemon->address, quiet => 1);
	return $new && ((eval { $new->stats }) // {})->{read_buf_oom} >= 64;
});
is($daemon->client->ask("mn\r\n"), 'MN', 'their buffers serve others');
is($daemon->stop, 0, 'stops in order');
done_testing();
