#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# Calls that fail (made by strace): each write, fsync, fallocate, open, rename and unlink of the log, sync and snapshot threads
# fails with EIO, ENOSPC or EDQUOT, once or from then on. Reads go on, deletes are not refused, no success depends on what
# failed, a file whose fsync failed is not synced again; when calls work again the daemon gets well by itself; killed at
# any time it comes back with what was acknowledged, or says that its files are not to be trusted.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Budget;
use Hearth::Daemon;
use Hearth::Ledger;
use Hearth::Process qw(reap remove_dir sanitizer scratch_dir slurp spawn wait_until);
use Test::More;
use Time::HiRes qw(sleep);

plan skip_all => 'needs strace' if sanitizer();

my $budget = Hearth::Budget->new(share => 0.1);
my %calls = (
	log => [qw(writev pwrite64)],
	sync => [qw(openat write writev pwrite64 fdatasync fsync fallocate renameat unlinkat)],
	snapshot => [qw(openat write writev fdatasync fsync)],
);
my @errors = qw(EIO ENOSPC EDQUOT);
my @policies = qw(always everysec os);
my @points;
for my $thread (sort keys %calls) {
	for my $call (@{ $calls{$thread} }) {
		push @points, map { [$thread, $call, $_] } 1 .. ($thread eq 'log' ? 12 : 8);
	}
}

sub tracer
{
	my ($daemon, $thread, $call, $error, $when) = @_;
	my $place = scratch_dir();
	my $pid = spawn(['strace', '-y', '-o', "$place/trace", '-e', "trace=$call,fsync,fdatasync,unlinkat", '-e',
		"inject=$call:error=$error:when=$when", '-p', $daemon->thread($thread)], err => "$place/err");
	wait_until('strace to attach', sub { -e "$place/err" && slurp("$place/err") =~ /attached/ });
	return ($pid, "$place/trace");
}

# A file whose fsync failed must not be synced again.
sub synced_again
{
	my ($trace) = @_;
	my %failed;
	for (split /\n/, slurp($trace)) {
		delete $failed{"$1/$2"} if /^unlinkat\(\d+<([^>]+)>, "([^"]+)"/; # made anew under its old name
		my ($path, $rest) = /^f(?:data)?sync\(\d+<([^>]+)>(.*)/ or next;
		next unless $path =~ m{/(?:log|snapshot)-\d+};
		return $path if $failed{$path};
		$failed{$path} = 1 if $rest =~ /INJECTED/;
	}
	return undef;
}

sub one
{
	my ($index) = @_;
	my $rest = $index;
	my $policy = $policies[$rest % 3];
	my $error = $errors[($rest = int $rest / 3) % 3];
	my $on = ($rest = int $rest / 3) % 2 ? '+' : '';
	my ($thread, $call, $n) = @{ $points[int $rest / 2] };
	my $what = "case $index: --fsync $policy, $call number $n of the $thread thread fails with $error" . ($on && ' from then on');
	my @serve = rand() < 0.3 ? ('--on-disk-error', 'serve') : ();
	my $daemon = Hearth::Daemon->start(args => ['-m', 64, '-t', 1, '--fsync', $policy, '--snapshot-interval', 0, @serve]);
	my $ledger = Hearth::Ledger->new(daemon => $daemon);
	$ledger->any('k', 12) for 1 .. 20;
	my ($strace, $trace) = tracer($daemon, $thread, $call, $error, "$n$on");
	$ledger->any('k', 12) for 1 .. 6;
	kill 'USR2', $daemon->pid;
	for (1 .. 6) {
		$ledger->any('k', 12);
		sleep 0.01;
	}
	$ledger->delete('k1');
	$ledger->reads_on($what);
	my $mended = rand() < 0.5;
	if ($mended) {
		kill 'TERM', $strace;
		reap($strace, 30);
		$ledger->heals(40) or $ledger->problem("$what: not well after 40 s: " . $daemon->errors);
		my $how = $ledger->set('k2');
		$ledger->problem("$what: well again, but a set is $how") if $how ne 'acked';
		$ledger->reads_on("$what, well again");
	}
	my $again = synced_again($trace);
	$ledger->problem("$what: $again is synced again") if defined $again;
	my $healthy = $ledger->state eq 'healthy';
	my $code = rand() < 0.3 ? $daemon->stop : $daemon->kill9;
	$ledger->problem("$what: ended with $code: " . $daemon->errors)
	    unless $code == 137 || ($mended || $healthy ? $code == 0 || !$mended : $code == 74 || $code == 0);
	reap($strace, 30) unless $mended;
	$budget->case($daemon->dir);
	my $start = $daemon->try_up;
	if (defined $start) {
		$ledger->problem("$what: the start after it ended with $start: " . $daemon->errors);
	} else {
		$ledger->verify($what);
		$ledger->any('k', 12) for 1 .. 4;
		$daemon->crash;
		$ledger->verify("$what, second crash");
		$daemon->kill9;
	}
	$budget->failed($ledger->problems, $daemon->dir) if $ledger->problems;
	remove_dir($daemon->dir);
	return;
}
my $all = 3 * 3 * 2 * @points;
my $done = $budget->each_case($all, \&one);
note "$done of $all failures";
$budget->report('failing calls');
done_testing();
