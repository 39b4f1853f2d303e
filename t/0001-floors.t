#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# Includes run downwards only: the table in src/README.md says what each folder may use, and every #include is held
# against it.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Process qw(slurp);
use Test::More;

# System headers that belong to a library which the table must allow.
my %library = ('event2/' => 'libevent', 'event.h' => 'libevent', 'zstd' => 'libzstd', 'xxhash' => 'libxxhash',
	'openssl/' => 'OpenSSL', 'jansson' => 'libjansson', 'curses.h' => 'ncurses');

# From the table's rows: path below src => { floor, use => { word => 1 } }.
sub read_table
{
	my ($text) = @_;
	my %rows;
	for my $line (split /\n/, $text) {
		my ($floor, $folder, undef, $use) = $line =~ /^\|\s*([0-9-]+)\s*\|([^|]+)\|([^|]+)\|([^|]+)\|/ or next;
		next if $floor =~ /^-{2,}$/;
		for my $path ($folder =~ m{src/([\w.]+)}g) {
			$rows{$path} = { floor => $floor, use => {} };
			for my $word (map { s/\(.*?\)//gr =~ s/^\s+|\s+$|`//gr } split /,/, $use) {
				$rows{$path}{use}{$_} = 1 for expand($word);
			}
		}
	}
	return \%rows;
}

# "0-3" stands for these floors, "src/base" for base, "store/types.h" for one header.
sub expand
{
	my ($word) = @_;
	return map { "floor $_" } $1 .. $2 if $word =~ /^(\d+)-(\d+)$/;
	return $word =~ s{^src/}{}r =~ s{/$}{}r;
}

# Which row a header belongs to; undef for the system's. The public headers are the format's, but for the status.
sub owner
{
	my ($header, $rows) = @_;
	return $header eq 'hearth/status.h' ? 'base' : 'format' if $header =~ m{^hearth/};
	my ($first) = split m{/}, $header;
	return $rows->{$header} ? $header : $rows->{$first} ? $first : undef;
}

sub may_use
{
	my ($row, $owner, $header, $rows) = @_;
	my $use = $row->{use};
	return 1 if $use->{all} || $use->{$owner} || $use->{$header} || $use->{"floor $rows->{$owner}{floor}"};
	return $header =~ m{^hearth/} && $use->{'include/hearth'};
}

# Complaints about one file: its path below src, its text.
sub complaints
{
	my ($path, $text, $rows) = @_;
	my ($first) = split m{/}, $path;
	my $mine = $rows->{$path} ? $path : $first;
	my $row = $rows->{$mine} or return "$path: src/README.md has no row for it";
	my @found;
	for my $line (split /\n/, $text) {
		my ($quote, $header) = $line =~ /^\s*#\s*include\s*(["<])([^">]+)/ or next;
		my $owner = owner($header, $rows);
		if (!defined $owner) {
			push @found, "$path: \"$header\" is in no folder of the table" if $quote eq '"';
			for my $prefix (grep { index($header, $_) == 0 } keys %library) {
				my $lib = $library{$prefix};
				push @found, "$path: <$header> needs $lib" unless $row->{use}{$lib} || $row->{use}{all};
			}
			next;
		}
		next if $owner eq $mine || may_use($row, $owner, $header, $rows);
		push @found, "$path: $mine must not include $header";
	}
	return @found;
}

my $rows = read_table(slurp('src/README.md'));
cmp_ok(scalar keys %$rows, '>=', 9, 'src/README.md has the table of floors');

my @files = split /\n/, `find src include -name '*.[ch]' | sort`;
my %checked;
my @found;
for my $file (@files) {
	my $path = $file =~ s{^src/}{}r =~ s{^include/hearth/}{format/}r;
	$checked{ (split m{/}, $path)[0] }++;
	push @found, complaints($path, slurp($file), $rows);
}
is(join("\n", @found), '', 'no include runs upwards or to a sibling: ' . @files . ' files');

# Public headers stand alone: who uses libhearth.a has nothing else.
my @alone = grep { slurp($_) =~ /#include "/ } glob 'include/hearth/*.h';
is("@alone", '', 'public headers include public headers only');

# The test itself can fail.
my $row = { base => { floor => 0, use => {} }, store => { floor => 2, use => { base => 1 } },
	proto => { floor => 2, use => { base => 1 } }, format => { floor => 1, use => { base => 1, libzstd => 1 } } };
is(scalar complaints('store/x.c', qq(#include "base/buf.h"\n#include "store/y.h"\n), $row), 0, 'downwards is fine');
is(scalar(my @up = complaints('base/x.c', qq(#include "store/store.h"\n), $row)), 1, 'upwards is found');
is(scalar(my @side = complaints('store/x.c', qq(#include "proto/parse.h"\n), $row)), 1, 'a sibling is found');
is(scalar(my @lib = complaints('store/x.c', qq(#include <zstd.h>\n), $row)), 1, 'a library is found');
is(scalar(my @format = complaints('store/x.c', qq(#include <hearth/record.h>\n), $row)), 1, 'a public header is found');
done_testing();
