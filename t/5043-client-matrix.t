#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# Real clients store, read, count and expire; the daemon is killed and started, and they read on. Each does all that it has,
# and t/clients/MATRIX.md says so.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Matrix qw(clients test_clients);
use Test::More;

test_clients(0, clients());
done_testing();
