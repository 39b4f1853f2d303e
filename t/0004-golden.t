#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# Data directories that earlier versions wrote are read for ever: what the tool says about them is compared with what
# was noted when they were made, and a daemon serves from a copy. t/data/make-golden made them.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Files qw(copy_dir);
use Hearth::Process qw(program run slurp);
use JSON::PP;
use Test::More;

my @golden = glob 't/data/golden-*';
cmp_ok(scalar @golden, '>=', 1, 'there are golden directories');
for my $dir (@golden) {
	my ($code, $out, $err) = run([program('hearth'), 'check', "$dir/data"]);
	is($code, 0, "$dir: check finds no fault") or diag $out . $err;
	($code, $out, $err) = run([program('hearth'), 'dump', '--json', '--values', "$dir/data"]);
	is($code, 0, "$dir: dump") or diag $err;
	is($out, slurp("$dir/dump.json"), "$dir: the same records as when it was made");
	my $expected = JSON::PP->new->latin1->decode(slurp("$dir/items.json"));
	my $daemon = Hearth::Daemon->start(dir => copy_dir("$dir/data"));
	my $found = $daemon->client->items('gets ' . join ' ', sort keys %$expected);
	is_deeply({ map { $_ => [@{ $found->{$_} }{qw(flags value cas)}] } keys %$found }, $expected, "$dir: served as they were");
	is($daemon->stop, 0, "$dir: stops in order");
}
done_testing();
