#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# Those clients whose packages are large, Django, Go, Java, nginx and npm's, as in t/5043-client-matrix.t: in make check-long. With
# HEARTH_MATRIX=write it runs all, and writes t/clients/MATRIX.md anew.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Matrix qw(clients heavy_clients test_clients);
use Hearth::Process qw(long_run sanitizer);
use Test::More;

plan skip_all => 'only in make check-long' unless long_run() && !sanitizer();

test_clients($ENV{HEARTH_MATRIX}, heavy_clients(), $ENV{HEARTH_MATRIX} ? clients() : ());
done_testing();
