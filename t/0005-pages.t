#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# What --help prints and what the manual pages say hold together, both ways; the exit codes too.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Process qw(program run slurp);
use Test::More;

# The long options a text names.
sub options { my ($text) = @_; my %o = map { $_ => 1 } $text =~ /(?<![\w-])--([a-z][a-z0-9-]*)/g; return \%o; }

# The same of a page, as mandoc shows it: what a reader sees.
sub page_text
{
	my ($page) = @_;
	my ($code, $out) = run(['mandoc', '-Tutf8', '-Owidth=400', $page]);
	is($code, 0, "$page can be shown");
	$out =~ s/.\x08//g;
	$out =~ s/\xe2\x80\x90|\xe2\x88\x92|\xe2\x80\x91/-/g;
	return $out;
}

sub same
{
	my ($help, $page, $what) = @_;
	my ($h, $p) = (options($help), options($page));
	is(join(' ', sort grep { !$p->{$_} } keys %$h), '', "$what: the page has each option of --help");
	is(join(' ', sort grep { !$h->{$_} } keys %$p), '', "$what: --help has each option of the page");
	return;
}

my ($code, $help, $err) = run([program('hearthd'), '--help']);
is($code, 0, 'hearthd --help exits 0');
is($err, '', 'and says nothing on standard error');
my $hearthd = page_text('man/hearthd.8');
same($help, $hearthd, 'hearthd');
my %short = map { $_ => 1 } $help =~ /^\s*-(\w)\b/mg;
my @missing = grep { $hearthd !~ /(?<![\w-])-\Q$_\E(?!\w)/ } sort keys %short;
cmp_ok(scalar keys %short, '>', 10, 'hearthd --help lists letters');
is("@missing", '', 'the page has each letter of --help');
my @codes = grep { $hearthd !~ /^\s*$_\s/m } 0, 64, 65, 67, 69, 71, 74, 75, 78;
is("@codes", '', 'the page lists each exit code');

# ---- each command of the table has its line, and no line is of another ----
my $table = slurp('src/proto/command.c');
my %row = map { $_ => 1 } $table =~ /^    ROW\("(\w+)"/mg;
my $protocol = slurp('man/hearth-protocol.7');
my %line = map { $_ => 1 } $protocol =~ /^\.It Ic (\w+)/mg;
cmp_ok(scalar keys %row, '>', 30, 'the table has commands');
is(join(' ', sort grep { !$line{$_} } keys %row), '', 'hearth-protocol has each command of the table');
is(join(' ', sort grep { !$row{$_} } keys %line), '', 'the table has each command of hearth-protocol');
page_text('man/hearth-protocol.7');

($code, $help, $err) = run([program('hearth'), '--help']);
is($code, 0, 'hearth --help exits 0');
my @subs = qw(dump check restore backup snapshot drop pin unpin stats set keys export import diff top bench);
my @unnamed = grep { $help !~ /\b$_\b/ } @subs;
is("@unnamed", '', 'it names each subcommand');
my ($listed) = $help =~ /^commands:\n(.*?)\n\n/ms;
is(join(' ', $listed =~ /^  (\w+)/mg), "@subs", 'and these are all');
my ($all, $main) = ($help, page_text('man/hearth.1'));
my %page = (unpin => 'pin');
for my $sub (@subs) {
	($code, $help, $err) = run([program('hearth'), $sub, '--help']);
	is($code, 0, "hearth $sub --help exits 0");
	like($help, qr/^ +--json\b/m, "hearth $sub takes --json");
	my $page = 'man/hearth-' . ($page{$sub} // $sub) . '.1';
	ok(-e $page, "hearth $sub has a page of its own") or next;
	$all .= $help;
	same($help =~ s/--help\b//gr, page_text($page), "hearth $sub");
	like(slurp('man/hearth.1'), qr/^\.It Cm .*\b$sub\b/m, 'which hearth(1) lists');
}

same($all, join('', $main, map { page_text($_) } glob 'man/hearth-*.1'), 'hearth');

my $version;
for my $name (qw(hearthd hearth)) {
	($code, my $out) = run([program($name), '--version']);
	is($code, 0, "$name --version exits 0");
	like($out, qr/^$name \d+\.\d+\.\d+\b.*\n\z/, "one line: name and version");
	my ($number) = $out =~ /(\d\S*)/;
	$version //= $number;
	is($number, $version, 'both say the same version');
}
like(slurp('NEWS'), qr/^\Q$version\E/m, 'NEWS has an entry for this version');
done_testing();
