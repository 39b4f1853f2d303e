#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# Those clients whose packages are large, Django, Go, Java, nginx and npm's, as in t/5043-client-matrix.t: in make check-long. With
# HEARTH_MATRIX=write it runs all, and writes t/clients/MATRIX.md anew.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Matrix qw(clients heavy_clients rows_of table table_of_file features page);
use Hearth::Process qw(long_run sanitizer spew);
use Test::More;

plan skip_all => 'only in make check-long' unless long_run() && !sanitizer();

my %clients = (heavy_clients(), $ENV{HEARTH_MATRIX} ? clients() : ());
my $rows = rows_of(%clients);
my %committed = table_of_file('t/clients/MATRIX.md');
for my $name (sort keys %clients) {
	for my $feature (features()) {
		my $result = $rows->{$name}{$feature} // next;
		ok($result eq 'ok' || $result eq '-', "$name: $feature") or diag $result;
	}
}
if ($ENV{HEARTH_MATRIX}) {
	spew('t/clients/MATRIX.md', page(table($rows, %clients)));
	%committed = table_of_file('t/clients/MATRIX.md');
}
for my $line (table($rows, %clients)) {
	my ($name) = $line =~ /^\| ([^|]+?) \|/;
	is($line, $committed{$name}, "$name: as t/clients/MATRIX.md says") if $clients{$name};
}
done_testing();
