#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# The scrub: clean files stay clean; a flipped bit, a cut and a missing file are found while it runs, named, set aside and
# answered by a fresh snapshot, so that the start behind the next kill finds nothing to complain about.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Files qw(flip cut);
use Hearth::Process qw(program run wait_until);
use Test::More;

my @args = ('--snapshot-interval', 0, '--snapshot-log-ratio', 0, '--scrub-interval', 1);
my $daemon = Hearth::Daemon->start(args => \@args);
my $dir = $daemon->dir;
sub stats { return $daemon->client->stats('persist'); }

# Keys in a snapshot, and more in a segment that was left behind it.
sub fill
{
	my ($round) = @_;
	my $c = $daemon->client;
	$c->set("snap$round-$_", "value$_" x 20) for 1 .. 200;
	my ($code, $out) = run([program('hearth'), 'snapshot', $dir]);
	is($code, 0, "round $round: a snapshot");
	$c->set("log$round-$_", "value$_" x 20) for 1 .. 200;
	return;
}

fill(0);
$daemon->crash; # and a segment is sealed
my $passes = stats()->{scrub_passes};
wait_until('two passes', sub { stats()->{scrub_passes} >= $passes + 2 });
my $stats = stats();
cmp_ok($stats->{scrub_bytes}, '>', 1000, 'bytes were read');
cmp_ok($stats->{scrub_last}, '>', time - 100, 'when');
is($stats->{scrub_errors}, 0, 'clean files are clean');
is($stats->{scrub_bad_file}, 'none', 'none is named');

my @damage = (
	['a flipped bit in the snapshot', 'snapshot', sub { flip($_[0], int((-s $_[0]) / 2), 3); }],
	['a flipped bit in a segment', 'log', sub { flip($_[0], int((-s $_[0]) / 2), 3); }],
	['a segment that was cut', 'log', sub { cut($_[0], (-s $_[0]) - 100); }],
	['a segment\'s header', 'log', sub { flip($_[0], 20, 0); }],
	['a missing snapshot', 'snapshot', sub { unlink $_[0]; }],
);
my $round = 0;
for my $case (@damage) {
	my ($what, $kind, $damage) = @$case;
	fill(++$round);
	$daemon->crash(args => [@args[0 .. 3], '--scrub-interval', 0]);
	$daemon->restart(args => \@args);
	my ($file) = sort glob "$dir/$kind-*";
	my ($name) = $file =~ m{([^/]+)$};
	my $before = stats()->{last_snapshot};
	$damage->($file);
	wait_until($what, sub { stats()->{scrub_errors} == 1 });
	is(stats()->{scrub_bad_file}, $name, "$what: found and named");
	like($daemon->errors, qr/scrub: \Q$name\E at offset \d+: .*fresh snapshot/, "$what: told");
	my @aside = glob "$dir/set-aside/$name.*";
	is(scalar @aside, $what =~ /missing/ ? 0 : 1, "$what: set aside");
	wait_until("$what: a fresh snapshot", sub { stats()->{last_snapshot} > $before && !-e $file });
	$daemon->crash;
	is(stats()->{recovery_damaged}, 0, "$what: the next start finds no damage");
	is($daemon->client->get($_), 'value7' x 20, "$what: $_ is there")
	    for map { ("snap$_-7", "log$_-7") } 0 .. $round;
}
is($daemon->stop, 0, 'stopped in order');
my ($code, $out, $err) = run([program('hearth'), 'check', $dir]);
is($code, 0, 'and clean') or diag $out . $err;
done_testing();
