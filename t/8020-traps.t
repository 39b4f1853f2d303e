#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# Each rule of t/traps/rules is taken out of a copy of the tree, and its test must fail then: `make traps`.
use strict;
use warnings;
use Test::More;

plan skip_all => 'takes minutes: in make check-long' unless $ENV{HEARTH_LONG};
plan skip_all => 'builds its own' if $ENV{HEARTH_SANITIZER};
exec 't/traps/run';
