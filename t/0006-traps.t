#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# The table of rules that keep ghosts away stays true: each row's text stands once in its file, its test is there, and
# each trap has a row. That the tests fail when the rule is taken out is what `make traps` shows.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Traps qw(read_rules problems taken_out);
use Test::More;

my @rules = read_rules('t/traps/rules');
my @wrong = map { my $r = $_; map { "t/traps/rules:$r->{line}: $r->{what}: $_" } problems($r) } @rules;
is(join("\n", @wrong), '', scalar(@rules) . ' rows: their texts and their tests are there');
my %have = map { $_->{trap} => 1 } @rules;
is(join(' ', grep { !$have{$_} } 1 .. 27), '', 'each trap has a rule');
my %what;
$what{ $_->{what} }++ for @rules;
is(join(', ', grep { $what{$_} > 1 } sort keys %what), '', 'no row comes twice');

my $hunk = { file => 'none', old => "b\nc\n", new => "d\n" };
is(taken_out("a\nb\nc\n", $hunk), "a\nd\n", 'a text is taken out');
ok(!eval { taken_out("b\nc\nb\nc\n", $hunk) }, 'but not one that stands there twice');
ok(!eval { taken_out("ab\nc\n", $hunk) }, 'nor the end of another line');
done_testing();
