# SPDX-License-Identifier: BSD-3-Clause
# Many items with numbered keys, for tests of what goes and what stays: how a number becomes a key, and a value, is the test's.
package Hearth::Numbered;
use strict;
use warnings;
use Exporter 'import';
use Test::More;

our @EXPORT_OK = qw(fill present);

my $flags = 7;

# Sets those of 0 to $n - 1, without waiting for each answer.
sub fill
{
	my ($daemon, $n, $key, $value) = @_;
	my $c = $daemon->client;
	for (my $i = 0; $i < $n; $i += 1000) {
		my $last = $i + 999 < $n ? $i + 999 : $n - 1;
		$c->put(join '', map { my $v = $value->($_); sprintf "set %s $flags 0 %d noreply\r\n%s\r\n", $key->($_), length $v, $v } $i .. $last);
		$c->ask("mn\r\n") eq 'MN' or die 'no answer';
	}
	return;
}

# How many of them are there; each must have its value and flags.
sub present
{
	my ($daemon, $n, $key, $value) = @_;
	my ($c, $count, @wrong) = ($daemon->client, 0);
	for (my $i = 0; $i < $n; $i += 100) {
		my $last = $i + 99 < $n ? $i + 99 : $n - 1;
		my $items = $c->items('get ' . join ' ', map { $key->($_) } $i .. $last);
		for my $k ($i .. $last) {
			my $item = $items->{ $key->($k) } or next;
			$count++;
			push @wrong, $key->($k) unless $item->{value} eq $value->($k) && $item->{flags} == $flags;
		}
	}
	is("@wrong[0 .. ($#wrong < 5 ? $#wrong : 5)]", '', 'values are what they were') if @wrong;
	return $count;
}

1;
