#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# stats hotkeys: off unless asked for, for so many seconds; the keys that come most, of all protocols, from samples; bad orders.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Binary;
use Hearth::Client;
use Hearth::Daemon;
use Hearth::Process qw(wait_until);
use Test::More;

my $daemon = Hearth::Daemon->start(args => ['-t', 3]);
my @c = map { $daemon->client } 1 .. 6;

# name => value, and the keys in their order: [key, count, error].
sub hot
{
	my ($c, $seconds) = @_;
	my (%stat, @keys);
	$c->put(defined $seconds ? "stats hotkeys $seconds\r\n" : "stats hotkeys\r\n");
	while ((my $line = $c->line) ne 'END') {
		if ($line =~ /^STAT hotkey:(\d+) (\S+) (\d+) (\d+)$/) {
			push @keys, [$2, $3, $4];
			is($1, scalar @keys, 'rows have their numbers') if $1 != @keys;
		} else {
			$line =~ /^STAT (\S+) (\S+)$/ or die $line;
			$stat{$1} = $2;
		}
	}
	return (\%stat, \@keys);
}
sub load
{
	my ($n) = @_;
	for my $i (1 .. $n) {
		my $c = $c[$i % @c];
		my $batch = join '', map { sprintf "get %s\r\n", rand() < 0.3 ? 'the-hot-one' : rand() < 0.1 ? 'warm/%' : 'cold' . int rand 5000 } 1 .. 100;
		$c->put($batch);
		for (1 .. 100) { while ($c->line ne 'END') { } }
	}
	return;
}

$c[0]->set('the-hot-one', 1);
load(20);
my ($stat, $keys) = hot($c[0]);
is($stat->{hotkeys_on}, 'no', 'off unless asked for');
is($stat->{hotkeys_sampled}, 0, 'and nothing is sampled');
is(scalar @$keys, 0, 'no keys');

hot($c[0], 60);
load(300);
($stat, $keys) = hot($c[1]);
is($stat->{hotkeys_on}, 'yes', 'on');
cmp_ok($stat->{hotkeys_seconds_left}, '>', 0, 'for a while');
cmp_ok($stat->{hotkeys_sampled}, '>', 100, 'samples');
cmp_ok($stat->{hotkeys_sampled}, '<', 30000 / $stat->{hotkeys_every} * 3, 'but one in so many');
is($keys->[0][0], 'the-hot-one', 'the hot one is the first');
is($keys->[1][0], 'warm%2F%25', 'the warm one is the second, escaped');
cmp_ok(scalar @$keys, '<=', 50, 'and so many at most');
my ($key, $count, $error) = @{ $keys->[0] };
cmp_ok($count, '>=', $count - $error, 'a count is that and what it may be too high by');
my $share = $count / $stat->{hotkeys_sampled};
cmp_ok($share, '>', 0.15, 'its share is about that of the load');
cmp_ok(($count - $error) / $stat->{hotkeys_sampled}, '<', 0.5, 'likewise');

hot($c[0], 0);
($stat) = hot($c[0]);
is($stat->{hotkeys_on}, 'no', 'switched off');
my $sampled = $stat->{hotkeys_sampled};
load(20);
is((hot($c[0]))[0]->{hotkeys_sampled}, $sampled, 'nothing is sampled then; what was is still shown');
hot($c[0], 1);
is((hot($c[0]))[0]->{hotkeys_sampled}, 0, 'switched on it begins anew');
wait_until('it to go off by itself', sub { (hot($c[0]))[0]->{hotkeys_on} eq 'no' });
pass('off when its seconds are over');

# The other protocols.
hot($c[0], 60);
my $b = Hearth::Client->new(port => $daemon->port);
for (1 .. 2000) { $b->put("mg meta-key v\r\nmn\r\n"); while ($b->line ne 'MN') { } }
my $binary = Hearth::Client->new(port => $daemon->port);
for (1 .. 2000) {
	$binary->put(pack('CCnCCnNNNN', 0x80, 0x00, 10, 0, 0, 0, 10, 0, 0, 0) . 'binary-key');
	my $head = $binary->bytes(24);
	$binary->bytes(unpack 'x8N', $head);
}
($stat, $keys) = hot($c[0]);
is(join(' ', sort map { $_->[0] } @$keys), 'binary-key meta-key', 'meta and binary requests count');

for ("stats hotkeys x\r\n", "stats hotkeys -1\r\n", "stats hotkeys 3601\r\n", "stats hotkeys 1 2\r\n") {
	like($c[0]->ask($_), qr/^CLIENT_ERROR/, 'refused: ' . s/\r\n//r);
}
my $admin = Hearth::Client->new(unix => $daemon->dir . '/admin.sock');
for ("hotkeys\n", "hotkeys x\n", "hotkeys \n", "hotkeys 99999\n") {
	$admin->put($_);
	$admin->fill;
	like(delete $admin->{input}, qr/^ERROR /, "admin: $_");
	$admin->{input} = '';
}
$admin->put("hotkeys 5\n");
my $answer = '';
while (($_ = $admin->line) ne 'END') { $answer .= "$_\n"; }
like($answer, qr/^STAT hotkeys_on yes$/m, 'by the admin socket');
is($daemon->stop, 0, 'stopped');
done_testing();
