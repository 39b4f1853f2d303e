#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# Items: cas numbers, values of every size up to -I and beyond, chunks of any size, many keys in one get.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Test::More;

my $daemon = Hearth::Daemon->start(args => ['-m', 1024, '-I', '32m', '-t', 2]);
my $c = $daemon->client;

# ---- cas ----
$c->set('k', 'one', flags => 7);
my $first = $c->gets('k')->{cas};
is($c->store('cas', 'k', 'two', cas => $first), 'STORED', 'cas with the number that gets showed');
my $second = $c->gets('k')->{cas};
isnt($second, $first, 'a change takes a new number');
is($c->store('cas', 'k', 'three', cas => $first), 'EXISTS', 'the old number is refused');
is($c->get('k'), 'two', 'and changes nothing');
$c->ask("touch k 1000\r\n");
$c->items('gat 2000 k');
is($c->gets('k')->{cas}, $second, 'touch and gat leave the number');
my %seen;
my $unique = 0;
for my $n (1 .. 200) {
	my $key = 'c' . $n % 7;
	$n % 3 ? $c->set($key, $n) : $c->store('append', $key, 0);
	my $cas = $c->gets($key);
	$unique++ if !$cas || !$seen{ $cas->{cas} }++;
}
is($unique, 200, '200 changes, 200 numbers');
cmp_ok((sort { $b <=> $a } keys %seen)[0], '<', 2**53, 'PHP and JavaScript can hold them');
my $highest = (sort { $b <=> $a } keys %seen)[0];
$daemon->crash;
$c = $daemon->client;
is($c->gets('k')->{cas}, $second, 'the number is the same after kill -9');
is($c->store('cas', 'k', 'four', cas => $second), 'STORED', 'and still good');
cmp_ok($c->gets('k')->{cas}, '>', $highest, 'a new one is higher than any before');

# ---- sizes ----
my @sizes = (0, 1, 100, 4094 .. 4098, 16383, 65536, 262143 .. 262145, 1 << 20, (5 << 20) + 3, 30 << 20);
my $bytes = join '', map { chr } 0 .. 255;
sub value { my ($n) = @_; return substr +($bytes x (1 + $n / 256)), 0, $n; }
is($c->set("s$_", value($_)), 'STORED', "$_ bytes") for @sizes;
my $wrong = sub { join ' ', grep { ($c->get("s$_") // '') ne value($_) } @sizes };
is($wrong->(), '', 'all come back');
is($c->store('append', 's5242883', value(1000)), 'STORED', 'append to a large one');
is($c->get('s5242883'), value((5 << 20) + 3) . value(1000), 'it is whole');
$c->set('s5242883', value((5 << 20) + 3));
is($c->set('s100', value(33 << 20)), 'SERVER_ERROR object too large for cache', 'over -I');
is($c->get('s100'), undef, 'a set that fails takes the old value with it');
is($c->store('append', 's31457280', value(3 << 20)), 'NOT_STORED', 'grown over -I, as memcached answers');
$c->set('s100', value(100));
$daemon->crash;
$c = $daemon->client;
is($wrong->(), '', 'all come back after kill -9');

# ---- a large value in small pieces, beside another client ----
my $large = value(3 << 20);
my $slow = $daemon->client;
$slow->put("set slow 0 0 " . length($large) . "\r\n");
for (my $at = 0; $at < length $large; $at += 50_000) {
	$slow->put(substr $large, $at, 50_000);
	$c->set('quick', $at) eq 'STORED' or fail('another client meanwhile');
}
is($slow->ask("\r\n"), 'STORED', 'a large value in pieces');
is($c->get('slow'), $large, 'is whole');
$slow->put("set slow 0 0 100000\r\n" . 'x' x 50_000);
$slow->close;
is(length $c->get('slow'), length $large, 'one that was broken off changes nothing');

# ---- a get of any length ----
my @keys = map { "key-$_" } 1 .. 20_000;
my $stores = $daemon->client;
$stores->put(join '', map { "set $_ 5 0 2 noreply\r\nab\r\n" } @keys);
$stores->ask("version\r\n");
my $items = $c->items("get @keys");
is(scalar keys %$items, 20_000, '20000 keys in one get');
is(scalar keys %{ $c->items("gets nope @keys[0 .. 9] nope") }, 10, 'misses are silent');
is($daemon->stop, 0, 'stops in order');
done_testing();
