#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# Sizes change: a daemon full of small values is read through with large ones, with small ones again, and with large ones once
# more. Each time its hit ratio, after twelve requests for each value that fits, is within two points (percent of requests) of
# that of a fresh daemon with the same requests: memory that held one size holds another as well. What was used often before
# takes so long to be forgotten; after half of that it lacks four points.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Process qw(long_run program run sanitizer);
use JSON::PP;
use Test::More;

my $seed = $ENV{HEARTH_SEED} // (time ^ $$ << 8) & 0x7fffffff;
my $mib = long_run() ? 32 : 8;
my $points = 2;
my $warm = 12; # times as many requests as values fit
my @options = ('-m', $mib, '-t', 1, '--fsync', 'os');
my %mix = (small => { value => 50, key => 20 }, large => { value => 4000, key => 21 });

sub fitting { my ($mix) = @_; return int($mib * 1048576 / ($mix->{value} + $mix->{key} + 32)); }

# So many requests, by Zipf over twice as many keys as fit; the hit ratio in percent.
sub load
{
	my ($daemon, $mix, $number, $requests, @how) = @_;
	my ($code, $out, $err) = run([program('hearth'), 'bench', '--json', '--server', '127.0.0.1:' . $daemon->port, '--connections', 2,
		'--pipeline', 32, '--get', 100, '--miss-set', '--distribution', 'zipf=0.9', '--keys', 2 * fitting($mix), '--key-size',
		$mix->{key}, '--value-size', $mix->{value}, '--seed', $number, '--requests', $requests, @how], seconds => sanitizer() ? 900 : 300);
	die "bench: $err" if $code;
	my $r = decode_json((split /\n/, $out)[-1]);
	return 100 - 100 * $r->{misses} / $r->{gets};
}

my $old = Hearth::Daemon->start(args => [@options]);
load($old, $mix{small}, $seed, fitting($mix{small}), '--fill');
for my $change (qw(large small large)) {
	my $mix = $mix{$change};
	my $fresh = Hearth::Daemon->start(args => [@options]);
	my %hits;
	for my $name (qw(old fresh)) {
		my $daemon = $name eq 'old' ? $old : $fresh;
		load($daemon, $mix, $seed + 1, $warm * fitting($mix));
		$hits{$name} = load($daemon, $mix, $seed + 2, 4 * fitting($mix));
	}
	cmp_ok($hits{old}, '>', $hits{fresh} - $points,
		sprintf 'to %s values: %.2f %% hits, fresh %.2f %%', $change, $hits{old}, $hits{fresh});
	is($fresh->stop, 0, 'the fresh one stops');
}
cmp_ok($old->client->stats->{evictions}, '>', 1000, "evictions; seed $seed");
is($old->stop, 0, 'stops in order');
done_testing();
