#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# Each fuzz target over its corpus, by a plain build: what a fuzzer once found stays found, and the targets do not rot.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Process qw(build_dir run);
use Test::More;

for my $target (qw(record dict block segment snapshot manifest text binary items)) {
	my @files = glob "t/fuzz/corpus/$target/*";
	cmp_ok(scalar @files, '>', 1, "$target: " . @files . ' inputs');
	my ($code, $out, $err) = run([build_dir() . "/fuzz/$target", @files], seconds => 300);
	is($code, 0, "$target: none of them fails") or diag "$out$err";
	my $ok = () = $out =~ /^ok /mg;
	is($ok, scalar @files, "$target: all of them ran");
}
done_testing();
