#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# T13: every allocation of an engine fails once, and from there on: build/crash/malloc does it in processes of their own.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Budget;
use Hearth::Process qw(build_dir run sanitizer);
use Test::More;

my $budget = Hearth::Budget->new(share => 0.1);
my $fast = sanitizer() ? 5 : 50; # how fast time runs in it
my $seconds = $budget->slice(600) * 2;
my ($code, $out, $err) = run([build_dir() . '/crash/malloc', '--seconds', $seconds, '--seed', $budget->seed, '--speed', $fast],
	seconds => $seconds + 300);
my ($cases, $failures) = (0, 0);
while ($out =~ /^(?:not )?ok \d+ - .*: (\d+) cases, .*, (\d+) failures$/mg) {
	$cases += $1;
	$failures += $2;
}
$budget->add($cases, 0, $failures);
ok($code == 0 && $cases > 0, 'allocations fail one by one') or diag substr("$out$err", 0, 4000);
$budget->report('allocations that fail');
done_testing();
