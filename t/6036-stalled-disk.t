#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# A disk that stands still: ext4 frozen (fsfreeze), on which every write sleeps and cannot be killed. With one worker, reads of
# others go on while changes wait; a flood of changes waits in bounded memory; when the disk moves again all are answered;
# TERM is obeyed, kill -9 too, and what was acknowledged is kept.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Mount;
BEGIN { Hearth::Mount::private() }
use Hearth::Budget;
use Hearth::Daemon;
use Hearth::Ledger;
use Hearth::Process qw(sanitizer slurp);
use Test::More;
use Time::HiRes qw(sleep time);

my $budget = Hearth::Budget->new(share => 0.06);
my $tmpfs = Hearth::Mount::mount('-t', 'tmpfs', '-o', 'size=300m', 'none');
my $disk = $tmpfs && Hearth::Mount::ext4($tmpfs, 256);
plan skip_all => 'no ext4 on a loop device' unless $disk;
my $probe = Hearth::Mount::freeze($disk, 0.1);
plan skip_all => 'the file system cannot be frozen' unless $probe;
waitpid $probe, 0;
my ($reads, @times) = (0);

sub rss { my ($daemon) = @_; return slurp('/proc/' . $daemon->pid . '/status') =~ /^VmRSS:\s+(\d+)/m ? $1 / 1024 : 0; }

# Reads for so many seconds.
sub read_on
{
	my ($ledger, $seconds, $what) = @_;
	my $end = time + $seconds;
	my $client = $ledger->{daemon}->client;
	while (time < $end) {
		my $begun = time;
		my $value = eval { $client->put("get settled\r\n"); $client->fill(5); $client->line };
		return $ledger->problem("$what: a read is not answered for 5 s") unless defined $value;
		push @times, time - $begun;
		$client->{input} = '';
		$reads++;
		sleep 0.002;
	}
	return;
}

# Changes of many connections that nobody answers yet. Returns the clients, each with how many it sent.
sub flood
{
	my ($daemon) = @_;
	my @clients;
	my $value = 'f' x 4000;
	for my $c (1 .. 20) {
		my $client = $daemon->client;
		$client->socket->blocking(0);
		my $sent = '';
		$sent .= "set flood$c-$_ 0 0 4000\r\n$value\r\n" for 1 .. 300;
		my $at = 0;
		while ($at < length $sent) {
			my $n = syswrite $client->socket, $sent, length($sent) - $at, $at;
			last unless $n;
			$at += $n;
		}
		push @clients, $client;
	}
	return @clients;
}

sub one
{
	my ($index) = @_;
	my $policy = (qw(always everysec os))[$index % 3];
	my $seconds = 0.5 + rand 2;
	my $flooded = rand() < 0.5;
	my $end = (qw(go kill term))[rand 3];
	my $what = sprintf 'case %d: --fsync %s, %.1f s, %s%s', $index, $policy, $seconds, $end, $flooded ? ', flooded' : '';
	my $daemon = Hearth::Daemon->start(dir => "$disk/data", args => ['-m', 128, '-t', 1, '--fsync', $policy, '--snapshot-interval', 0]);
	my $ledger = Hearth::Ledger->new(daemon => $daemon, patience => 60);
	$ledger->set('settled');
	$ledger->any('k', 20) for 1 .. 20;
	# Written and synced, so that nothing of it waits for the disk.
	sleep 1.2 if $policy eq 'everysec' && rand() < 0.3;
	my $before = rss($daemon);
	my $thaw = Hearth::Mount::freeze($disk, $seconds);
	return $ledger->problem("$what: not frozen") unless $thaw;
	my @waiting = $flooded ? flood($daemon) : ();
	my $writer = $daemon->client;
	$writer->put("set waits 0 0 3\r\nnew\r\n");
	kill 'USR2', $daemon->pid if rand() < 0.3;
	read_on($ledger, $seconds * 0.7, $what);
	my $grown = rss($daemon) - $before;
	$ledger->problem(sprintf '%s: %d MiB more memory', $what, $grown) if $grown > 128 + 40 && !sanitizer();
	$ledger->{may}{waits} = [undef, 'new'];
	kill 'TERM', $daemon->pid if $end eq 'term';
	if ($end eq 'kill') {
		$daemon->kill9;
	} else {
		waitpid $thaw, 0;
		my $answer = eval { $writer->line };
		$ledger->problem("$what: the change that waited is answered '" . ($answer // 'nothing') . "'")
		    if $end eq 'go' && ($answer // '') ne 'STORED';
		$ledger->{may}{waits} = ['new'] if ($answer // '') eq 'STORED';
		my $code = $end eq 'term' ? $daemon->ended(60) : $daemon->stop;
		$ledger->problem("$what: ended with $code: " . $daemon->errors) if $code;
	}
	waitpid $thaw, 0;
	$_->close for @waiting;
	$budget->case($daemon->dir);
	$daemon->up;
	$ledger->verify($what);
	$daemon->kill9;
	$budget->failed($ledger->problems, $daemon->dir) if $ledger->problems;
	system 'rm', '-rf', "$disk/data";
	return;
}
my $done = $budget->each_case(300, \&one);
@times = sort { $a <=> $b } @times;
note sprintf '%d disks, %d reads while they stood still, p99 %.1f ms, slowest %.1f ms', $done, $reads, 1000 * $times[0.99 * @times],
    1000 * $times[-1] if @times;
$budget->report('stalled disks');
done_testing();
