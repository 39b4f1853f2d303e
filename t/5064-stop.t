#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# A stop is at once for clients and ends in bounded time: with a disk that stands still (ext4, frozen) it says what it waits for,
# asks the service manager for patience, and leaves when --stop-timeout is over. What was acknowledged is kept.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Mount;
BEGIN { Hearth::Mount::private() }
use Hearth::Client;
use Hearth::Daemon;
use Hearth::Notify;
use Hearth::Process qw(slurp wait_until);
use IO::Socket::INET;
use Test::More;
use Time::HiRes qw(sleep);

my $tmpfs = Hearth::Mount::mount('-t', 'tmpfs', '-o', 'size=300m', 'none');
my $disk = $tmpfs && Hearth::Mount::ext4($tmpfs, 256);
plan skip_all => 'no ext4 on a loop device' unless $disk;
my $probe = Hearth::Mount::freeze($disk, 0.1);
plan skip_all => 'the file system cannot be frozen' unless $probe;
waitpid $probe, 0;

my $manager = Hearth::Notify->new;
# It leaves without its threads, on purpose: that one of them has ended is nothing to report.
my $daemon = Hearth::Daemon->start(dir => "$disk/data", args => ['-t', 1, '--stop-timeout', 7, '--snapshot-interval', 0],
	env => { NOTIFY_SOCKET => $manager->address, TSAN_OPTIONS => join ':', $ENV{TSAN_OPTIONS} // (), 'report_thread_leaks=0' });
my $client = $daemon->client;
is($client->set("k$_", "v$_"), 'STORED', "k$_ is stored") for 1 .. 3;
$manager->forget;

my $thaw = Hearth::Mount::freeze($disk, 16) or BAIL_OUT('not frozen');
my $writer = $daemon->client;
$writer->put("set waits 0 0 3\r\nnew\r\n");
sleep 0.2;
kill 'TERM', $daemon->pid;
ok($manager->await(qr/^STOPPING=1/, 30), 'TERM: it is stopping');
my $refused = wait_until('a refusal', sub { !IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $daemon->port) }, 5);
ok($refused, 'clients are refused while it waits for the disk');
ok($manager->await(qr/^EXTEND_TIMEOUT_USEC=\d+\n/, 30), 'it asks for patience');
like($manager->await(qr/^STATUS=stopping: waiting/, 30), qr/^STATUS=stopping: waiting for [a-z ]+\n/, 'and says what for');
ok(eval { wait_until('its last word', sub { $daemon->errors =~ /error: --stop-timeout: no end of [a-z ,']+ within 7 seconds/ }, 30) }, 'it leaves') or diag $daemon->errors;
like($daemon->errors, qr/warning: .*(?:waiting for the disk|waiting for)/, 'and had said why it took so long');
# Threads that sleep in the kernel keep the process there, but nobody is served and nothing is held.
ok(wait_until('its threads', sub { slurp('/proc/' . $daemon->pid . '/stat') =~ /\) [ZD] / }, 30), 'no thread of it runs any more');
waitpid $thaw, 0;
is($daemon->ended(60), 74, 'the disk moves again: the exit code is 74');

$daemon->up;
$client = $daemon->client;
is($client->get("k$_"), "v$_", "k$_ is still there") for 1 .. 3;
my $waited = $client->get('waits');
ok(!defined $waited || $waited eq 'new', 'the change that nobody was told of is there or not');

# ---- messages that go to the same disk ----
$daemon->restart(args => ['-t', 1, '--stop-timeout', 4, '--snapshot-interval', 0, '--log-file', "$disk/log"]);
$thaw = Hearth::Mount::freeze($disk, 30) or BAIL_OUT('not frozen');
$writer = $daemon->client;
$writer->put("set waits 0 0 3\r\nnew\r\n");
sleep 0.2;
kill 'TERM', $daemon->pid;
ok(eval { wait_until('its threads', sub { slurp('/proc/' . $daemon->pid . '/stat') =~ /\) [ZD] / }, 20) }, 'it leaves though nobody hears it');
waitpid $thaw, 0;
is($daemon->ended(60), 74, 'with its exit code');
$daemon->up(args => ['-t', 1, '--snapshot-interval', 0]);

# ---- USR1 and the others ----
for my $signal (qw(USR1 INT TERM)) {
	is($daemon->stop($signal), 0, "$signal stops it in order");
	$daemon->up;
	is($daemon->client->get('k1'), 'v1', "and all is there after $signal");
}
$daemon->stop;
done_testing();
