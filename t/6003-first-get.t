#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# The port opens when the working set is in memory, and not a moment before: a client that hammers at it during the whole
# start is refused, and the first get that is accepted finds its key; after a kill, a stop, and a kill beside a snapshot.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Client;
use Hearth::Daemon;
use Hearth::Process qw(sanitizer spawn);
use Test::More;
use Time::HiRes qw(sleep time);

my $n = sanitizer() ? 20_000 : 300_000;

# Starts the daemon and tries to connect all the while. Returns the client that got in first, and how often none did.
sub hammer
{
	my ($daemon) = @_;
	$daemon->{port} = Hearth::Daemon::free_port();
	$daemon->{pid} = spawn([$daemon->command], err => $daemon->{errors}, env => $daemon->{env});
	my ($refused, $client, $end) = (0, undef, time + 120);
	until ($client || time > $end) {
		$client = eval { Hearth::Client->new($daemon->address) } or $refused++;
	}
	return ($client, $refused);
}

my $daemon = Hearth::Daemon->start(args => ['-m', 256, '--snapshot-interval', 0]);
my $client = $daemon->client;
for (my $from = 0; $from < $n; $from += 1000) {
	$client->put(join '', map { "set key-$_ 0 0 10 noreply\r\n" . sprintf('%010d', $_) . "\r\n" } $from .. $from + 999);
}
is($client->get('key-' . ($n - 1)), sprintf('%010d', $n - 1), "$n items are stored");

for my $end (['a kill', sub { $daemon->kill9 }], ['a stop in order', sub { $daemon->stop }],
	['a kill beside a snapshot', sub { kill 'USR2', $daemon->pid; sleep 0.02; $daemon->kill9 }]) {
	my ($what, $stop) = @$end;
	$stop->();
	my ($first, $refused) = hammer($daemon);
	my $key = int rand $n;
	is($first && $first->get("key-$key"), sprintf('%010d', $key), "after $what: the first get finds key-$key") or diag $daemon->errors;
	cmp_ok($refused, '>', 0, "after $what: the port was shut before ($refused times)");
	is($first->stats->{get_misses}, 0, "after $what: nobody has missed anything");
}
$daemon->stop;
done_testing();
