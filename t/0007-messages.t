#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# hearth-recovery(7) explains every message of recovery and of a failing disk: the texts are taken from the sources.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Process qw(run slurp);
use Test::More;

my ($code, $page) = run(['mandoc', '-Tutf8', '-Owidth=400', 'man/hearth-recovery.7']);
is($code, 0, 'the page can be shown');
$page =~ s/.\x08//g;
$page =~ s/\xe2\x80\x90|\xe2\x88\x92|\xe2\x80\x91/-/g;
$page =~ s/\xe2\x80\x99/'/g;
$page =~ s/\s+/ /g;

# The texts in a stretch of C, adjacent literals joined.
sub texts { my ($c) = @_; $c =~ s/"\s*"//g; return $c =~ /"((?:[^"\\]|\\.)*)"/g; }

my %message; # text => file
for my $file (glob 'src/persist/*.c') {
	my $source = slurp($file);
	while ($source =~ /\brecover_(?:note|damage)\((.*?)\);\n/gs) {
		$message{$_} = $file for texts($1);
	}
	$message{$_} = $file for map { texts($_) } $source =~ /^static const char \*told\(.*?^}/msg;
}
delete $message{'%s at offset %llu: %s;'}; # the frame of the others
cmp_ok(scalar keys %message, '>=', 15, 'messages are found in the sources');
for my $text (sort keys %message) {
	my $wanted = join '\S+', map { quotemeta } split /%(?:llu|lld|u|d|s)/, $text =~ s/[:;].*?;?$//r, -1;
	ok($page =~ /$wanted/, "$message{$text}: $text");
}
done_testing();
