#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# Where it listens: a unix socket, several addresses, both loopback addresses without -l.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Client;
use Hearth::Daemon;
use Hearth::Process qw(program scratch_dir slurp);
use Test::More;

my $path = scratch_dir() . '/hearth.sock';
my $daemon = Hearth::Daemon->start(dir => 'none', unix => $path, args => ['-a', '0770']);
is($daemon->client->set('k', 'v'), 'STORED', 'a unix socket');
is($daemon->client->get('k'), 'v', 'serves');
is(sprintf('%o', (stat $path)[2] & 0777), '770', '-a is its mode');
is($daemon->client->stats('settings')->{tcpport}, 0, 'and TCP is off');
is($daemon->kill9, 128 + 9, 'killed');
ok(-e $path, 'the socket of the dead is in the way');
$daemon->up;
is($daemon->client->set('k', 'v'), 'STORED', 'and replaced');
is($daemon->stop, 0, 'stops in order');

# The ports of this process that listen, from /proc.
sub listens
{
	my ($pid) = @_;
	my %inode = map { (readlink($_) // '') =~ /^socket:\[(\d+)\]/ ? ($1 => 1) : () } glob "/proc/$pid/fd/*";
	my @found;
	for my $table (qw(tcp tcp6 udp udp6)) {
		for (split /\n/, slurp("/proc/net/$table")) {
			my @f = split;
			push @found, "$table $f[1]" if ($table =~ /udp/ || $f[3] eq '0A') && $inode{ $f[9] };
		}
	}
	return sort @found;
}

my $both = Hearth::Daemon->start(dir => 'none', args => ['-l', '127.0.0.2']);
is(scalar(my @two = listens($both->pid)), 2, 'two -l, two listeners');
my $other = Hearth::Client->new(host => '127.0.0.2', port => $both->port);
is($other->set('k', 'v'), 'STORED', 'the second serves');
is($both->client->get('k'), 'v', 'the same cache');
$both->stop;

my $comma = Hearth::Daemon->start(dir => 'none', args => ['-l', '127.0.0.3,127.0.0.4']);
is(Hearth::Client->new(host => $_, port => $comma->port)->ask("version\r\n"), 'VERSION 1.6.45', "a list: $_")
    for qw(127.0.0.3 127.0.0.4);
$comma->stop;

# A comma too many is no address, least of all any address.
for my $list (',127.0.0.3,', '127.0.0.3,,127.0.0.4') {
	my $one = Hearth::Daemon->start(dir => 'none', args => ['-l', $list]);
	my @outside = grep { !/^tcp 0[1-4]00007F:/ } listens($one->pid);
	is("@outside", '', "-l $list: nothing but what it names");
	$one->stop;
}
for my $list (',', ':11999', '127.0.0.1,:11999', '127.0.0.1:65536', '127.0.0.1:+80', '127.0.0.1:', '[::1]11999', '[]') {
	for my $check ([], ['--check-config']) {
		my ($code, $err) = Hearth::Daemon->refused('-l', $list, '--data-dir', 'none', @$check);
		is($code, 64, "-l $list @$check: refused");
		like($err, qr/^hearthd: error: --listen \Q$list\E: no (?:address|port)/m, 'with what is missing');
	}
}

# Without -l it is not reachable from outside.
my $errors = scratch_dir() . '/err';
my $port = Hearth::Daemon::free_port();
my $pid = Hearth::Process::spawn([program('hearthd'), '-p', $port, '--data-dir', 'none', $> == 0 ? ('-u', 'root') : ()],
	err => $errors);
Hearth::Process::wait_until('a listener', sub { Hearth::Client->new(port => $port, quiet => 1) });
my $hex = sprintf '%04X', $port;
my @open = grep { !/ (?:0100007F|0{24}01000000):$hex$/ } listens($pid);
is("@open", '', 'without -l: loopback only, and no UDP');
ok((grep { /^tcp 0100007F:$hex/ } listens($pid)), '127.0.0.1 among it');
kill 'INT', $pid;
is(Hearth::Process::reap($pid, 60), 0, 'INT stops it in order');
done_testing();
