#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# Real clients store, read, count and expire; the daemon is killed and started, and they read on. Each does all that it has,
# and t/clients/MATRIX.md says so.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Matrix qw(clients rows_of table table_of_file features);
use Test::More;

my %clients = clients();
my $rows = rows_of(%clients);
my %committed = table_of_file('t/clients/MATRIX.md');
for my $name (sort keys %clients) {
	for my $feature (features()) {
		my $result = $rows->{$name}{$feature} // next;
		ok($result eq 'ok' || $result eq '-', "$name: $feature") or diag $result;
	}
}
for my $line (table($rows, %clients)) {
	my ($name) = $line =~ /^\| ([^|]+?) \|/;
	is($line, $committed{$name}, "$name: as t/clients/MATRIX.md says") if $clients{$name};
}
done_testing();
