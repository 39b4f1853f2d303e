#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# Torn writes: a limit on the size of files (RLIMIT_FSIZE, set while the daemon runs) ends the write of a log's block or of a
# snapshot after exactly N bytes. No change whose record is torn is acknowledged, reads go on, and what two crashes find
# is what was acknowledged.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Budget;
use Hearth::Daemon;
use Hearth::Ledger;
use Hearth::Process qw(remove_dir run sanitizer wait_until);
use Test::More;

my $budget = Hearth::Budget->new(share => 0.1);
my $depth = 420; # bytes: about the last three records
my $snapshot_cuts = 40;
my @policies = qw(always everysec os);

sub limit
{
	my ($daemon, $bytes) = @_;
	my ($code, $out, $err) = run(['prlimit', '--pid', $daemon->pid, "--fsize=$bytes:"]);
	die "prlimit: $err" if $code;
	return;
}

sub size_of_log { my ($daemon) = @_; my ($largest) = sort { $b <=> $a } map { -s } glob $daemon->dir . '/log-*'; return $largest; }

# Three changes and what is written of them ends at the limit.
sub tear_log
{
	my ($daemon, $ledger, $bytes) = @_;
	limit($daemon, size_of_log($daemon) + $bytes);
	$ledger->set("torn$_") for 1 .. 3;
	$ledger->delete('k1');
	return;
}

# A snapshot that ends at the limit. It begins a new log, which stays below.
sub tear_snapshot
{
	my ($daemon, $ledger, $bytes) = @_;
	limit($daemon, 300 + $bytes);
	my $before = $ledger->{daemon}->client->stats('persist');
	kill 'USR2', $daemon->pid;
	wait_until('the snapshot to fail', sub {
		my $now = $daemon->client->stats('persist');
		return grep { /^snapshots$|snapshot_errors/ && $now->{$_} ne $before->{$_} } keys %$now;
	}, 20);
	return;
}

sub one
{
	my ($index) = @_;
	my $policy = $policies[$index % 3];
	my $bytes = int $index / 3;
	my $snapshot = $bytes >= $depth;
	my $what = "case $index: --fsync $policy, " . ($snapshot ? 'snapshot' : 'log') . " torn after $bytes bytes";
	my $daemon = Hearth::Daemon->start(args => ['-m', 64, '-t', 1, '--fsync', $policy, '--snapshot-interval', 0]);
	my $ledger = Hearth::Ledger->new(daemon => $daemon);
	$ledger->set("k$_") for 1 .. ($snapshot ? 30 : 8);
	$snapshot ? tear_snapshot($daemon, $ledger, 40 * ($bytes - $depth)) : tear_log($daemon, $ledger, $bytes);
	$ledger->reads_on($what);
	if (rand() < 0.3) {
		limit($daemon, 'unlimited');
		$ledger->any('k', 8) for 1 .. 3;
		$ledger->reads_on("$what, without the limit again");
	}
	my $code = rand() < 0.2 ? $daemon->stop : $daemon->kill9;
	$ledger->problem("$what: ended with $code: " . $daemon->errors) unless $code == 0 || $code == 74 || $code == 137;
	for my $crash (1, 2) {
		$budget->case($daemon->dir);
		$daemon->up;
		$ledger->verify("$what, crash $crash");
		$ledger->any('k', 8) for 1 .. 3;
		$daemon->kill9;
	}
	$budget->image($daemon->dir);
	$daemon->up;
	$ledger->verify("$what, third start");
	$daemon->kill9;
	$budget->failed($ledger->problems, $daemon->dir) if $ledger->problems;
	remove_dir($daemon->dir);
	return;
}
my $all = 3 * ($depth + $snapshot_cuts);
my $done = $budget->each_case($all, \&one);
note "$done of $all places";
$budget->report('torn writes');
done_testing();
