# SPDX-License-Identifier: BSD-3-Clause
# The table t/traps/rules: which rule of persistence holds where, how it is taken out, and which test must fail then.
package Hearth::Traps;
use strict;
use warnings;
use Carp qw(croak);
use Exporter 'import';
use Hearth::Process qw(slurp);

our @EXPORT_OK = qw(read_rules taken_out problems);

# Rows: { trap, what, test => [kind, program, name], hunks => [{ file, old, new }], line }.
sub read_rules
{
	my ($file) = @_;
	my (@rules, $hunk);
	my $n = 0;
	for my $line (split /\n/, slurp($file)) {
		$n++;
		if ($line =~ /^\[(\d+)\] (.+)$/) {
			push @rules, { trap => $1, what => $2, hunks => [], line => $n };
			undef $hunk;
		} elsif ($line =~ /^test (unit) (\w+) (\w+)$/ || $line =~ /^test (perl) (\S+)(?: (.+))?$/) {
			$rules[-1]{test} = [$1, $2, $3];
		} elsif ($line =~ /^in (\S+)$/) {
			$hunk = { file => $1, old => '', new => '' };
			push @{ $rules[-1]{hunks} }, $hunk;
		} elsif ($hunk && $line =~ /^-(.*)$/) {
			$hunk->{old} .= "$1\n";
		} elsif ($hunk && $line =~ /^\+(.*)$/) {
			$hunk->{new} .= "$1\n";
		} elsif ($line !~ /^(?:#.*)?$/) {
			croak "$file:$n: cannot be read: $line";
		}
	}
	return @rules;
}

# How often the hunk's old lines stand in the text.
sub times_found
{
	my ($text, $hunk) = @_;
	my ($found, $at) = (0, -1);
	$text = "\n$text";
	$found++ while ($at = index $text, "\n$hunk->{old}", $at + 1) >= 0;
	return $found;
}

# The text without the rule.
sub taken_out
{
	my ($text, $hunk) = @_;
	times_found($text, $hunk) == 1 or croak "$hunk->{file}: this stands there " . times_found($text, $hunk) . " times:\n$hunk->{old}";
	$text = "\n$text";
	substr $text, index($text, "\n$hunk->{old}") + 1, length $hunk->{old}, $hunk->{new};
	return substr $text, 1;
}

# What is wrong with a row, without building anything.
sub problems
{
	my ($rule) = @_;
	my @wrong;
	push @wrong, 'takes nothing out' unless @{ $rule->{hunks} };
	for my $hunk (@{ $rule->{hunks} }) {
		my $times = -e $hunk->{file} ? times_found(slurp($hunk->{file}), $hunk) : 0;
		push @wrong, "its text stands $times times in $hunk->{file}" if $times != 1 || $hunk->{old} eq '';
		push @wrong, "changes nothing in $hunk->{file}" if $hunk->{old} eq $hunk->{new};
	}
	my ($kind, $program, $name) = @{ $rule->{test} // ['none', '', ''] };
	my $source = $kind eq 'unit' ? "t/unit/$program.c" : $program;
	if (!-e $source) {
		push @wrong, "its test $source is not there";
	} elsif ($kind eq 'unit') {
		push @wrong, "$source has no test $name" if slurp($source) !~ /cmocka_unit_test\(\Q$name\E\)/;
	} elsif (defined $name) {
		push @wrong, "$source has no test '$name'" if slurp($source) !~ /^trap\('\Q$name\E'/m;
	}
	return @wrong;
}

1;
