#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# The style that no compiler checks: white space, licence line, file head, length of functions and of the Makefile,
# clang-format, warnings of mandoc.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Process qw(run slurp);
use Test::More;

my $function_max = 100;
my $main_max = 60;
# Functions that may be longer, each with its reason.
my %long = ();

# Files that are the project's own text.
sub own_files
{
	my @files = split /\n/, `find . -name .git -prune -o -name build -prune -o -name 'hearth-data-*' -prune -o -type f -print`;
	return sort map { s{^\./}{}r } grep { !m{^\./t/(?:data|fuzz/corpus)/} && !m{/\.} } @files;
}

# [name, lines] of each function in a C file; in this style its braces stand in column 0.
sub functions
{
	my ($text) = @_;
	my (@found, $name, $start);
	my @lines = split /\n/, $text;
	for my $i (0 .. $#lines) {
		if ($lines[$i] eq '{' && $i) {
			my $head = join ' ', @lines[($i > 4 ? $i - 4 : 0) .. $i - 1];
			($name) = $head =~ /.*?(\w+)\([^;{}]*\)$/ ? $head =~ /(?:.*[;}] )?.*?(\w+)\(/ : undef;
			$start = $i;
		} elsif ($lines[$i] eq '}' && defined $start) {
			push @found, [$name // '?', $i - $start - 1];
			undef $start;
		}
	}
	return @found;
}

my @files = own_files();
my (@white, @licence, @head, @length, @size);
for my $file (@files) {
	my $text = slurp($file);
	push @size, $file if length $text > 1 << 20;
	next if $file =~ m{^t/bench/traces/.*\.zst$}; # no text
	push @white, $file if $text =~ /[ \t]$/m || $text =~ /\r\n/ || $text !~ /\n\z/ || $text =~ /\n\n\z/;
	my $code = $file =~ /\.(?:[ch]|pm|t|py)$/ || $text =~ /^#!/ || $file =~ m{^man/|\.service$|^Makefile$};
	push @licence, $file if $code && substr($text, 0, 200) !~ /SPDX-License-Identifier: BSD-3-Clause/;
	if ($file =~ m{^(?:src|include)/.*\.[ch]$}) {
		push @head, $file unless $text =~ m{\A/\* SPDX[^\n]*\*/\n/\* \w+:};
	}
	next unless $file =~ /\.c$/;
	for (functions($text)) {
		my ($name, $lines) = @$_;
		my $max = $file eq 'src/hearthd.c' ? $main_max : $function_max;
		push @length, "$file: $name has $lines lines" if $lines > $max && !$long{$name};
	}
}
is("@white", '', 'no white space at line ends, one newline at the end of each file');
is("@licence", '', 'the licence line stands at the top');
is("@head", '', 'each C file begins with what it is: "/* name: ..."');
is(join("\n", @length), '', "no function is longer than $function_max lines, main not longer than $main_max");
is("@size", '', 'no file is larger than 1 MiB');
my $probe = "int f(int a)\n{\n" . "\ta++;\n" x 101 . "}\n";
is_deeply([functions($probe)], [['f', 101]], 'functions are measured');

my $makefile = slurp('Makefile');
cmp_ok($makefile =~ tr/\n//, '<=', 150, 'the Makefile has 150 lines or less');

my @c = grep { /\.[ch]$/ } @files;
my ($code, $out, $err) = run(['clang-format', '--dry-run', '-Werror', @c]);
is($code, 0, 'clang-format has nothing to say') or diag substr $err, 0, 3000;

my @unsafe;
for my $file (grep { m{^src/} } @c) {
	my $text = slurp($file) =~ s{/\*.*?\*/}{}gsr;
	push @unsafe, "$file: $1" while $text =~ /\b(sprintf|gets|strtok|atoi|assert)\s*\(/g;
}
is(join("\n", @unsafe), '', 'no call without a bound, no assert that a release build leaves out');

my @pages = glob 'man/*.[1-8]';
cmp_ok(scalar @pages, '>=', 4, 'the manual pages are there');
for my $page (@pages) {
	($code, $out, $err) = run(['mandoc', '-Tlint', '-Wwarning', $page]);
	is("$code$out$err", '0', "mandoc has nothing to say on $page");
}
done_testing();
