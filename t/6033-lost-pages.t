#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# A disk that really loses what was written: ext4 on a sparse image of 64 MiB that lies on a tmpfs of 6 MiB. When that is full
# a first fsync fails, a second one would answer that all is well, and the page cache goes on showing what no disk holds.
# With --fsync always, what was acknowledged is there after the file system was unmounted and mounted again, from what is on
# the image alone: or the start says that its files are not to be trusted.
#
# ext4 on such a disk is itself no honest witness: now and then it answers an fdatasync with success and has lost the page (seen
# on Linux 6.18 with nothing but write and fdatasync; seldom with data=journal). So strace notes which bytes were synced with
# success; a case in which one of them is not on the image afterwards proves nothing about the daemon and is counted apart.
# Nor does one after which the file system's own structures are bad.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Mount;
BEGIN { Hearth::Mount::private() }
use Hearth::Budget;
use Hearth::Daemon;
use Hearth::Ledger;
use Hearth::Files qw(copy_dir);
use Hearth::Process qw(remove_dir run sanitizer scratch_dir slurp);
use Test::More;

plan skip_all => 'needs strace' if sanitizer();

my $budget = Hearth::Budget->new(share => 0.06);
my %seen = (whole => 0, untrusted => 0, 'by a file system that lied' => 0);

# tmpfs, ext4 in it, a directory for the data; undef when there are none.
sub make_disk
{
	my $tmpfs = Hearth::Mount::mount('-t', 'tmpfs', '-o', 'size=6m', 'none') or return;
	my $disk = Hearth::Mount::ext4($tmpfs, 64, 'data=journal');
	return { tmpfs => $tmpfs, at => $disk, data => $disk && "$disk/data" };
}

sub end_disk
{
	my ($disk) = @_;
	Hearth::Mount::unmount($disk->{at}) or Hearth::Mount::unmount($disk->{at}, '-l');
	Hearth::Mount::unmount($disk->{tmpfs}, '-l');
	return;
}

# Forgets all that is not on the image: unmounts, makes room, repairs as a boot does, mounts. {broken}: there was more to
# mend than what the journal holds.
sub boot
{
	my ($disk) = @_;
	return 0 unless Hearth::Mount::unmount($disk->{at});
	Hearth::Mount::remount($disk->{tmpfs}, 'size=80m');
	my ($code) = run(['e2fsck', '-p', "$disk->{tmpfs}/image"]);
	$disk->{broken} = $code > 1 || (run(['e2fsck', '-f', '-n', "$disk->{tmpfs}/image"]))[0] != 0;
	run(['e2fsck', '-f', '-y', "$disk->{tmpfs}/image"]) if $disk->{broken};
	$disk->{at} = Hearth::Mount::mount('-o', 'loop,data=journal', "$disk->{tmpfs}/image") or return 0;
	$disk->{data} = "$disk->{at}/data";
	return 1;
}

# Of each log: how many bytes had been written when an fdatasync began that succeeded.
sub synced
{
	my ($trace) = @_;
	my (%written, %writes, %begun, %synced);
	for (split /\n/, slurp($trace)) {
		my ($thread, $rest) = /^(\d+) +(.*)$/ or next;
		if ($rest =~ m{^(?:p?write\w*)\(\d+<[^>]*/(log-\d+)(?:\.tmp)?>.* = (\d+)$}) {
			$written{$1} += $2;
		} elsif ($rest =~ m{^p?write\w*\(\d+<[^>]*/(log-\d+)(?:\.tmp)?>.*<unfinished}) {
			$writes{$thread} = $1;
		} elsif ($rest =~ /^<\.\.\. p?write\w* resumed>.* = (\d+)$/ && $writes{$thread}) {
			$written{ delete $writes{$thread} } += $1;
		} elsif ($rest =~ m{^fdatasync\(\d+<[^>]*/(log-\d+)(?:\.tmp)?>}) {
			$begun{$thread} = [$1, $written{$1} // 0];
			$synced{ $begun{$thread}[0] } = $begun{$thread}[1] if $rest =~ / = 0$/;
		} elsif ($rest =~ /^<\.\.\. fdatasync resumed>.* = 0$/ && $begun{$thread}) {
			$synced{ $begun{$thread}[0] } = $begun{$thread}[1];
		}
	}
	return %synced;
}

# Whether the image lacks bytes of which the file system had said that they are there. $before: the files as the page cache
# had them.
sub lied
{
	my ($before, $after, %synced) = @_;
	for my $log (sort keys %synced) {
		my ($had, $has) = map { -e "$_/$log" ? slurp("$_/$log") : undef } $before, $after;
		next unless defined $had && length $had >= $synced{$log};
		return 1 if !defined $has || substr($has, 0, $synced{$log}) ne substr($had, 0, $synced{$log});
	}
	return 0;
}

sub one
{
	my ($index) = @_;
	my $disk = make_disk();
	my $serve = rand() < 0.3;
	my $what = "case $index" . ($serve ? ', --on-disk-error serve' : '');
	my $trace = scratch_dir() . '/trace';
	my $daemon = Hearth::Daemon->prepare(dir => $disk->{data}, args => ['-m', 64, '-t', 1, '--fsync', 'always',
		'--snapshot-interval', 0, $serve ? ('--on-disk-error', 'serve') : ()],
		prefix => ['strace', '-D', '-f', '-y', '-s', 0, '-o', $trace, '-e', 'trace=write,writev,pwrite64,pwritev,fdatasync']);
	$daemon->up;
	$daemon->{prefix} = [];
	my $ledger = Hearth::Ledger->new(daemon => $daemon, size => 200 + rand 30_000, patience => 60);
	my $bad = 0;
	for my $n (1 .. 3000) {
		$bad++ if $ledger->any('k', 60) ne 'acked';
		last if $bad > 3 || $ledger->{acked} * $ledger->{size} > 2 * 8 << 20;
		kill 'USR2', $daemon->pid if $n == 20 && rand() < 0.3;
	}
	$ledger->reads_on("$what, failing");
	$ledger->delete("k$_") for 1 .. 8;
	$ledger->reads_on("$what, failing, after deletes");
	my $code = rand() < 0.7 ? $daemon->kill9 : $daemon->stop;
	$ledger->problem("$what: ended with $code: " . $daemon->errors) unless $code == 0 || $code == 74 || $code == 137;
	my $before = copy_dir($disk->{data});
	if (!boot($disk)) {
		note "$what: the file system itself did not come back";
		end_disk($disk);
		return;
	}
	my $lied = $disk->{broken} || lied($before, $disk->{data}, synced($trace));
	remove_dir($before);
	$daemon->{dir} = $disk->{data};
	$budget->case($disk->{data});
	my $start = $daemon->try_up;
	if ($lied) {
		$seen{'by a file system that lied'}++;
		$daemon->kill9 unless defined $start;
	} elsif (defined $start) {
		$ledger->problem("$what: the start after it ended with $start: " . $daemon->errors);
	} else {
		$seen{ $daemon->errors =~ /not to be trusted/ ? 'untrusted' : 'whole' }++;
		$ledger->verify($what);
		$daemon->kill9;
	}
	$budget->failed(join("\n", $ledger->problems, "$ledger->{acked} acknowledged, $ledger->{refused} refused, $ledger->{lost} without answer",
		slurp($daemon->{errors})), $disk->{data}) if $ledger->problems;
	end_disk($disk);
	return;
}

my $try = make_disk();
plan skip_all => 'no ext4 on a loop device' unless $try && $try->{at};
end_disk($try);
my $done = $budget->each_case(400, \&one);
note "$done disks: " . join ', ', map { "$seen{$_} $_" } sort keys %seen;
$budget->report('lost pages');
done_testing();
