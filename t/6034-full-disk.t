#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# A disk that is full and then not: a small tmpfs is filled until so many KiB are left, changes go on until they are refused,
# and room comes back. Reads go on, deletes are never refused, nothing that was acknowledged is lost; with room again the
# daemon gets well by itself; killed or stopped at any time it comes back with what was acknowledged.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Mount;
BEGIN { Hearth::Mount::private() }
use Hearth::Budget;
use Hearth::Daemon;
use Hearth::Ledger;
use Hearth::Process qw(run spew);
use Test::More;

my $budget = Hearth::Budget->new(share => 0.08);
my $disk = Hearth::Mount::mount('-t', 'tmpfs', '-o', 'size=8m,mode=700', 'none');
plan skip_all => 'no tmpfs can be mounted' unless $disk;
my $kib = 400;

# Writes a file that leaves so many bytes free.
sub fill
{
	my ($left) = @_;
	my $bytes = free_bytes() - $left;
	spew("$disk/filler", "\0" x $bytes) if $bytes > 0;
	return;
}
sub free_bytes { my ($code, $out) = run(['df', '--output=avail', '-B1', $disk]); return $out =~ /(\d+)\s*$/ ? $1 : 0; }

sub one
{
	my ($index) = @_;
	my $left = int($index / 2) * 1024;
	my @serve = $index % 2 ? ('--on-disk-error', 'serve') : ();
	my $policy = (qw(always everysec os))[rand 3];
	my $what = sprintf 'case %d: %d KiB left, --fsync %s %s', $index, $left / 1024, $policy, "@serve";
	run(['rm', '-rf', "$disk/data", "$disk/filler"]);
	my $daemon = Hearth::Daemon->start(dir => "$disk/data", args => ['-m', 64, '-t', 1, '--fsync', $policy,
		'--snapshot-interval', 0, @serve]);
	my $ledger = Hearth::Ledger->new(daemon => $daemon, size => 4000);
	$ledger->any('k', 40) for 1 .. 40;
	# Half the time the daemon's own log takes the last bytes, or a snapshot does.
	fill($left);
	my $refused = 0;
	for my $n (1 .. 700) {
		kill 'USR2', $daemon->pid if $n == 5 && rand() < 0.3;
		$refused++ if $ledger->set('k' . (1 + int rand 40)) ne 'acked';
		last if $refused > 5;
	}
	$ledger->reads_on("$what, full");
	$ledger->delete("k$_") for 1 .. 5;
	$ledger->reads_on("$what, full, after deletes");
	$ledger->problem("$what: a set larger than the disk was acknowledged") if !$refused && !@serve && $left < 1 << 19 && !free_bytes();
	my $die_full = rand() < 0.3;
	my $code;
	if ($die_full) {
		$code = rand() < 0.5 ? $daemon->kill9 : $daemon->stop;
		$budget->case($daemon->dir);
		unlink "$disk/filler";
	} else {
		unlink "$disk/filler";
		$ledger->heals(40) or $ledger->problem("$what: not well 40 s after there is room: " . $daemon->errors);
		my $how = $ledger->set('k9');
		$ledger->problem("$what: well again, but a set is $how") if $how ne 'acked';
		$code = rand() < 0.5 ? $daemon->kill9 : $daemon->stop;
		$ledger->problem("$what: stopped when well it ends with $code") if $code && $code != 137;
		$budget->case($daemon->dir);
	}
	$ledger->problem("$what: ended with $code: " . $daemon->errors) unless $code == 0 || $code == 74 || $code == 137;
	my $start = $daemon->try_up;
	if (defined $start) {
		$ledger->problem("$what: the start after it ended with $start: " . $daemon->errors);
	} else {
		$ledger->verify($what);
		$daemon->kill9;
	}
	$budget->failed($ledger->problems, $daemon->dir) if $ledger->problems;
	return;
}
my $done = $budget->each_case(2 * $kib, \&one);
note "$done of " . 2 * $kib;
$budget->report('full disks');
done_testing();
