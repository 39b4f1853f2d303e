#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# --eviction: what each policy keeps, as its page says, through the protocol, of small items and of values with memory of
# their own: what was used, what expires, what is walked through again and again; and -M, with which nothing goes.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Test::More;

my @policies = qw(s3fifo lru lfu ttl random mru);
my $batch = 50;

# A daemon and what is done with it; "fit" is about how many items it holds.
sub begin
{
	my ($size, $policy, @more) = @_;
	my $daemon = Hearth::Daemon->start(dir => 'none', args => ['-m', $size->{mib}, '-t', 2, '--eviction', $policy, @more]);
	return { daemon => $daemon, client => $daemon->client, value => 'v' x $size->{value},
		fit => int($size->{mib} * 1048576 / ($size->{value} + 60)) };
}

# Sends commands in batches; what of the answers is more than the last "MN" of each.
sub send_all
{
	my ($world, @commands) = @_;
	my $answers = '';
	while (my @some = splice @commands, 0, $batch) {
		$world->{client}->put(join '', @some, "mn\r\n");
		while ((my $line = $world->{client}->line) ne 'MN') { $answers .= "$line\n" }
	}
	return $answers;
}

sub set
{
	my ($world, $ttl, @keys) = @_;
	my $length = length $world->{value};
	return send_all($world, map { "ms $_ $length q T$ttl\r\n$world->{value}\r\n" } @keys);
}

# Percent of these keys that are there; to look is a use.
sub there
{
	my ($world, @keys) = @_;
	my $found = () = send_all($world, map { "mg $_ k q\r\n" } @keys) =~ /^HD/mg;
	return 100 * $found / @keys;
}

sub names { my ($prefix, $from, $to) = @_; return map { "$prefix$_" } $from .. $to - 1; }

# Of the first ones every fourth is used three times, then others come. What stays: used ones, unused ones, the others.
sub after_uses
{
	my ($world) = @_;
	my @first = names('a', 0, 0.6 * $world->{fit});
	my @used = @first[grep { $_ % 4 == 0 } 0 .. $#first];
	my @unused = @first[grep { $_ % 4 } 0 .. $#first];
	my @others = names('b', 0, 0.8 * $world->{fit});
	set($world, 0, @first);
	there($world, @used) for 1 .. 3;
	set($world, 0, @others);
	return map { there($world, @$_) } \@used, \@unused, \@others;
}

# What stays of some that were used three times, when others come that are used once each.
sub after_more_uses
{
	my ($world) = @_;
	my @often = names('o', 0, 0.3 * $world->{fit});
	my @once = names('e', 0, 1.5 * $world->{fit});
	set($world, 0, @often);
	there($world, @often) for 1 .. 3;
	while (my @some = splice @once, 0, $batch) {
		set($world, 0, @some);
		there($world, @some);
	}
	return there($world, @often);
}

# What stays of those that never expire, and of those that do so soon and late, when others come.
sub after_expiries
{
	my ($world) = @_;
	my %keys = map { ($_ => [names("t$_-", 0, 0.2 * $world->{fit})]) } 0, 500, 200_000;
	for my $n (0 .. $#{ $keys{0} }) { set($world, $_, $keys{$_}[$n]) for sort keys %keys }
	set($world, 0, names('n', 0, 0.65 * $world->{fit}));
	return map { there($world, @{ $keys{$_} }) } 0, 500, 200_000;
}

# The hit ratio, in percent, of walking through half as much again as fits, once it has been done before.
sub walking
{
	my ($world) = @_;
	my @keys = names('w', 0, 1.5 * $world->{fit});
	my ($hits, $gets) = (0, 0);
	for my $round (1 .. 4) {
		for (my $i = 0; $i < @keys; $i += 10) {
			my @some = @keys[$i .. ($i + 9 < $#keys ? $i + 9 : $#keys)];
			my %hit = map { $_ => 1 } send_all($world, map { "mg $_ k q\r\n" } @some) =~ /^HD k(\S+)/mg;
			set($world, 0, grep { !$hit{$_} } @some);
			$hits += keys %hit if $round > 2;
			$gets += @some if $round > 2;
		}
	}
	return 100 * $hits / $gets;
}

# Between which percentages what stays lies: [used], [unused], [others], [never expire], [soon], [late], [walked through], [used
# more than others].
my @what = qw(used unused new never soon late walking often);
my ($all, $most, $few, $any) = ([95, 100], [75, 100], [0, 50], [0, 100]);
my %keeps = (
	s3fifo => [$all, $few, $all, $any, $any, $any, [20, 66], $any],
	lru => [$all, $few, $all, ([20, 80]) x 3, [0, 5], [0, 10]],
	lfu => [$all, $few, $all, ([20, 80]) x 3, [0, 5], [20, 100]],
	ttl => [$any, $any, $any, $most, [0, 10], $most, $any, $any],
	random => [([30, 85]) x 2, [55, 97], ([50, 95]) x 3, [20, 66], $any],
	mru => [$all, $all, [0, 70], $all, $all, $all, [50, 75], $all],
);
for my $size ({ name => 'small', mib => 8, value => 1000 }, { name => 'large', mib => 64, value => 200_000 }) {
	for my $policy (@policies) {
		my @kept;
		for my $course (\&after_uses, \&after_expiries, \&walking, \&after_more_uses) {
			my $world = begin($size, $policy);
			push @kept, $course->($world);
			cmp_ok($world->{client}->stats->{evictions}, '>', 0, "$size->{name}, $policy: memory was full");
			is($world->{daemon}->stop, 0, 'stops');
		}
		for my $i (0 .. $#what) {
			my ($least, $most_kept) = @{ $keeps{$policy}[$i] };
			my $text = sprintf '%s, %s, %s: %.0f %% stay', $size->{name}, $policy, $what[$i], $kept[$i];
			ok($kept[$i] >= $least && $kept[$i] <= $most_kept, "$text; $least to $most_kept were expected");
		}
	}
	# ---- without eviction ----
	for my $policy (@policies) {
		my $world = begin($size, $policy, '-M');
		my @keys = names('m', 0, 1.5 * $world->{fit});
		my $refused = () = set($world, 0, @keys) =~ /out of memory/g;
		cmp_ok($refused, '>', 0.4 * $world->{fit}, "$size->{name}, $policy, -M: $refused sets are refused");
		my $there = there($world, @keys) / 100 * @keys;
		is(sprintf('%.0f', $there), @keys - $refused, 'and all others are there');
		is($world->{client}->stats->{evictions}, 0, 'nothing was evicted');
		is($world->{daemon}->stop, 0, 'stops');
	}
}
done_testing();
