#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# On-disk states that crashes and damage leave, by the thousand: build/crash/images makes them from histories on a file
# system in memory and boots each through the engine in one process; of all of them at least one in twenty is written out
# and booted by the real daemon here, and what it serves is held against the same expectations.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Budget;
use Hearth::Daemon;
use Hearth::Expect;
use Hearth::Process qw(build_dir run sanitizer scratch_dir);
use Test::More;

my $budget = Hearth::Budget->new(share => 1);
my $program = build_dir() . '/crash/images';
my $fast = sanitizer() ? 5 : 50; # how fast time runs in it
my $wall = time - 30 * 86400;   # long enough ago for the daemon's clock to be ahead of what histories take
my (%families, $booted);

# One run of the program. Counts what it says; returns how many new images there were.
sub in_process
{
	my ($seconds, $seed, $export) = @_;
	my @keep = $ENV{HEARTH_KEEP} ? ('--keep', $ENV{HEARTH_KEEP}) : ();
	my ($code, $out, $err) = run([$program, '--seconds', $seconds, '--jobs', 1, '--seed', $seed, '--speed', $fast, @keep,
		'--wall', $wall, '--export', $export, '--every', 2], seconds => $seconds * 3 + 300);
	my ($all, $fails) = (0, 0);
	while ($out =~ /^(?:not )?ok \d+ - (\w+) .*?: (\d+) cases, (\d+) distinct images, (\d+) failures$/mg) {
		my ($family, $cases, $images, $failures) = ($1, $2, $3, $4);
		$families{$family}{cases} += $cases;
		$families{$family}{images} += $images;
		$families{$family}{failures} += $failures;
		$budget->add($cases, $images, $failures);
		$all += $images;
		$fails += $failures;
	}
	ok($code == 0 && $fails == 0 && $all > 0, "in one process, seed $seed: $all images") or diag substr("$out$err", 0, 4000);
	return $all;
}

# What the daemon serves of these keys, and its time before and after.
sub served
{
	my ($daemon, @names) = @_;
	my $client = $daemon->client;
	my $before = $client->stats->{time};
	my $items = $client->items('gets ' . join ' ', @names);
	my $stats = $client->stats;
	return ($items, $before, $stats->{time}, $stats->{curr_items});
}

sub boot
{
	my ($dir) = @_;
	my $expect = Hearth::Expect->read("$dir/expect");
	my $daemon = eval { Hearth::Daemon->start(dir => "$dir/data", args => ['-m', 4, '-t', 1]) };
	if (!$daemon) {
		$budget->failed("$expect->{case}: the daemon does not start: $@", $dir);
		return;
	}
	my ($items, $before, $after, $n) = served($daemon, $expect->names);
	my ($state, $why);
	for my $now ($before .. $after) { # a second may have begun meanwhile
		($state, $why) = $expect->judge($items, $now);
		last if defined $state;
	}
	$why = 'there are items that nobody has stored' if defined $state && $n > keys %$items && $before == $after;
	$budget->failed("$expect->{case}: $why: " . $daemon->errors, $dir) if $why;
	$daemon->kill9;
	$booted++;
	return;
}

my ($number, $all) = (0, 0);
do {
	my $export = scratch_dir();
	# The seed says which of the nine families begins. A slice of a sanitizer's build gets through one or two of them: by steps of
	# four a few slices reach most.
	$all += in_process($budget->slice(12), $budget->seed + 4 * $number++, $export);
	my @images = grep { !/\.tmp$/ } glob "$export/*";
	for my $dir (@images) {
		last if $booted && $booted * 20 > $all + 20;
		boot($dir);
		system('rm', '-rf', $dir);
	}
	system('rm', '-rf', $export);
	# Not every image can be the daemon's: it runs in this machine's boot.
} while ($budget->left || ($booted * 20 < $all && $number < 200 && $budget->seconds > 20));

diag sprintf '  %-9s %7d cases, %7d distinct images, %d failures', $_, @{ $families{$_} }{qw(cases images failures)}
    for sort keys %families;
diag "  $booted of the images were booted by the real daemon";
cmp_ok($booted * 20, '>=', $all, 'one in twenty images was booted by the real daemon') if $budget->seconds > 20;
$budget->report('states on disk, booted in one process and by the daemon');
done_testing();
