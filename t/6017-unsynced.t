#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# A sync of the log fails, and before the log has gone on in another file the daemon is killed. The pages show all of it,
# and a second fsync would say that all is well: the next start writes the log anew instead.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Files qw(newest);
use Hearth::Process qw(sanitizer scratch_dir slurp spawn wait_until);
use Test::More;

plan skip_all => 'needs strace' if sanitizer();

# Lets a call of the sync thread fail, and another kill.
sub attach
{
	my ($daemon, @inject) = @_;
	my $err = scratch_dir() . '/err';
	my $pid = spawn(['strace', '-o', '/dev/null', (map { ('-e', "inject=$_") } @inject), '-e', 'signal=none', '-p', $daemon->thread('sync')], err => $err);
	wait_until('strace to attach', sub { -e $err && slurp($err) =~ /attached/ });
	return $pid;
}

for my $policy ('everysec', 'always') {
	my $daemon = Hearth::Daemon->start(args => ['--fsync', $policy, '--snapshot-interval', 0, '--snapshot-log-ratio', 0]);
	my $dir = $daemon->dir;
	my $client = $daemon->client;
	$client->set("k$_", "value $_") for 1 .. 20;
	my $log = newest($dir, 'log');
	my $strace = attach($daemon, 'fdatasync:error=EIO:when=1', 'renameat,renameat2:signal=KILL:when=1');
	$client->put("set last 0 0 1\r\nx\r\n");
	is($daemon->ended, 137, "--fsync $policy: a sync fails, and the daemon is killed before its log goes on") or diag $daemon->errors;
	waitpid $strace, 0;
	ok(-e "$dir/unsynced", 'it has left word');
	my ($inode, $bytes) = ((stat $log)[1], slurp($log));
	$daemon->up;
	my $items = $daemon->client->items(join ' ', 'get', map { "k$_" } 1 .. 20);
	is(join(' ', map { $items->{"k$_"}{value} // "none of $_" } 1 .. 20), join(' ', map { "value $_" } 1 .. 20), 'all is there again');
	isnt((stat $log)[1], $inode, 'in another file');
	is(slurp($log), $bytes, 'with the same content');
	ok(!-e "$dir/unsynced", 'which is synced');
	my $inode_now = (stat $log)[1];
	$daemon->crash;
	is((stat $log)[1], $inode_now, 'and stays');
	is($daemon->stop, 0, 'stops in order');
}

# It heals by itself where it lives.
my $daemon = Hearth::Daemon->start(args => ['--snapshot-interval', 0, '--snapshot-log-ratio', 0]);
my $strace = attach($daemon, 'fdatasync:error=EIO:when=1');
$daemon->client->set('k', 'v');
my $next = $daemon->dir . '/log-0000000002';
wait_until('the log to go on', sub { -s $next && $daemon->client->stats('persist')->{state} eq 'healthy' });
kill 'TERM', $strace;
waitpid $strace, 0;
wait_until('changes to be taken again', sub { $daemon->client->set('l', 'w') eq 'STORED' });
pass('a sync fails, and the log goes on elsewhere');
ok(!-e $daemon->dir . '/unsynced', 'no word is left');
is($daemon->stop, 0, 'stops in order');
done_testing();
