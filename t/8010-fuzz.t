#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# The fuzz targets under libFuzzer, address and undefined behaviour sanitizers, FUZZ_SECONDS (60) each.
use strict;
use warnings;
use Test::More;

plan skip_all => 'takes minutes: in make check-long' unless $ENV{HEARTH_LONG};
plan skip_all => 'has sanitizers of its own' if $ENV{HEARTH_SANITIZER};
my $build = $ENV{HEARTH_BUILD} // 'build';
my @lines = `make -s fuzz BUILD=$build 2>&1`;
is($?, 0, 'no target fails') or diag @lines;
my @runs = grep { /^\w+: \d+ runs$/ } @lines;
is(scalar @runs, 9, 'all nine ran') or diag @lines;
diag @runs;
done_testing();
