#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# The recipes of hearth-recipes(7), each pasted into a shell in the page's order, on a running daemon of the test's own. What
# they make is started, and has what it should.
use strict;
use warnings;
use lib 't/lib';
use Cwd qw(abs_path);
use Hearth::Daemon;
use Hearth::Process qw(program run scratch_dir slurp);
use Test::More;
use Time::HiRes qw(sleep time);

my $place = scratch_dir();
mkdir "$place/$_", 0700 for qw(backup lib bin);
symlink abs_path(program('hearth')), "$place/bin/hearth" or die;
my @still = ('--snapshot-interval', 0, '--snapshot-log-ratio', 0, '--keep', 3);
my $daemon = Hearth::Daemon->start(dir => "$place/lib/hearth", args => \@still);
my $client = $daemon->client;
$client->set("item:$_", "value $_") for 1 .. 50;
$client->set('greeting', 'hello');
sleep 0.3; # a change counts from when it was written
my $then = sprintf '@%.3f', time;

# Headings with the blocks of shell below them, as a reader sees them.
my ($code, $page, $err) = run(['mandoc', '-Tascii', '-Owidth=400', 'man/hearth-recipes.7']);
is($code, 0, 'the page can be shown') or diag $err;
$page =~ s/.\x08//g;
my (@recipes, $heading);
for my $line (split /\n/, $page) {
	$heading = $1, push @recipes, [$heading] if $line =~ /^ {0,3}(\S.*)/;
	push @recipes, [$heading] if $line eq '' && @recipes && @{ $recipes[-1] } > 1;
	push @{ $recipes[-1] }, $1 if $line =~ /^ {11}(\S.*)/;
}
@recipes = grep { @$_ > 1 } @recipes;
cmp_ok(scalar @recipes, '>=', 13, 'the page has recipes');

# In one shell, so that a later one has the variables of an earlier one.
my ($script, $n) = ("set -e\n", 0);
for my $recipe (@recipes) {
	my ($title, @lines) = @$recipe;
	if ($title =~ /^After somebody flushed/ && !$n++) {
		is($client->ask("flush_all\r\n"), 'OK', 'somebody flushes everything');
		$client->set('greeting', 'hello again');
	}
	my $shell = join('', map { s{/var/lib/}{$place/lib/}gr =~ s{/backup\b}{$place/backup}gr =~ s{10 minutes ago}{$then}r
	    =~ s{127\.0\.0\.1:11211}{'127.0.0.1:' . $daemon->port}er . "\n" } @lines);
	($code, my $out, $err) = run(['sh', '-c', $script . $shell], env => { PATH => "$place/bin:$ENV{PATH}" });
	is($code, 0, "$title: $lines[0]") or diag "$shell$out$err";
	$script .= join '', map { /^(\w+=.*)/ ? "$1\n" : '' } split /\n/, $shell;
	like($out, qr/^now: a value of 11 bytes/m, 'it shows the key') if "@lines" =~ /--key greeting/;
	like($out, qr/^0 stored .* 51 skipped/m, 'nothing is overwritten') if "@lines" =~ /import/;
	like($out, qr/^ +50 +\d+ +[\d.]+  item:$/m, 'it shows the prefix') if "@lines" =~ /--prefixes/;
	like($out, qr/^snapshot_interval|^snapshot-interval/m, 'it lists what can be set') if $title =~ /Change an option/;
}
is($client->get('greeting'), 'hello again', 'the daemon serves as before');
is($daemon->stop, 0, 'and stops in order');

sub served
{
	my ($dir) = @_;
	my $other = Hearth::Daemon->start(dir => "$place/lib/$dir", args => \@still);
	my %got = map { $_ => $other->client->get($_) // 'none' } qw(item:1 item:50 greeting);
	is($other->stop, 0, "$dir starts and stops");
	return join ', ', @got{qw(item:1 item:50 greeting)};
}
is(served('hearth-restored'), 'value 1, value 50, hello', 'the backup, restored');
is(served('hearth-unpacked'), 'value 1, value 50, hello', 'the packed one');
is(served('hearth-before'), 'value 1, value 50, hello', 'what was there before the flush');
is(served('hearth-then'), 'value 1, value 50, hello', 'what was there a while ago');
done_testing();
