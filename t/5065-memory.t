#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# A control group that is too small for -m is told at the start, version 2 and 1, its own limit and those above. Values are kept
# out of core dumps.
use strict;
use warnings;
no warnings 'portable'; # addresses are longer than 32 bits
use lib 't/lib';
use Hearth::Mount;
BEGIN { Hearth::Mount::private() }
use Hearth::Daemon;
use Hearth::Process qw(program run sanitizer scratch_dir slurp spew);
use Test::More;

# ---- control groups ----
# Files of the test's own in the place of the kernel's.
my $groups = scratch_dir();
run(['mount', '--bind', $groups, '/sys/fs/cgroup']);
my $own = scratch_dir();
# What the kernel says of the process, also: a wrapper that is to be mounted over cannot know the daemon's number, self is a link.
sub warned
{
	my ($cgroup, $limits, @args) = @_;
	system 'rm', '-rf', glob "$groups/*";
	for my $file (sort keys %$limits) {
		my ($dir) = "$groups/$file" =~ m{(.*)/};
		system 'mkdir', '-p', $dir;
		spew("$groups/$file", "$limits->{$file}\n");
	}
	spew("$own/cgroup", $cgroup);
	my $daemon = Hearth::Daemon->start(args => ['-I', '1m', @args],
		prefix => ['unshare', '-m', '--propagation', 'private', 'sh', '-c', 'mount --bind "$0" /proc/$$/cgroup && exec "$@"', "$own/cgroup"]);
	my ($line) = $daemon->errors =~ /(-m \d+ and \d+ MiB that may come on top.*)/;
	$daemon->stop;
	return $line // '';
}
my $mib = 1 << 20;
is(warned("0::/a/b\n", {}), '', 'no limit: no warning');
is(warned("0::/a/b\n", { 'a/b/memory.max' => 'max', 'a/memory.max' => 'max' }), '', 'version 2, "max"');
like(warned("0::/a/b\n", { 'a/b/memory.max' => 100 * $mib }, '-m', 64),
	qr{^-m 64 and \d+ MiB that may come on top are more than the 100 MiB of /sys/fs/cgroup/a/b/memory\.max: the kernel may end the daemon$},
	'version 2: its own limit');
like(warned("0::/a/b\n", { 'a/b/memory.max' => 'max', 'a/memory.max' => 90 * $mib }, '-m', 64), qr{the 90 MiB of /sys/fs/cgroup/a/memory\.max},
	'that of a group above');
like(warned("0::/host/path\n", { 'memory.max' => 80 * $mib }, '-m', 64), qr{the 80 MiB of /sys/fs/cgroup/memory\.max}, 'that of a container');
is(warned("0::/a\n", { 'a/memory.max' => 400 * $mib }, '-m', 64), '', 'enough: no warning');
like(warned("0::/a\n", { 'a/memory.max' => 400 * $mib }, '-m', 64, '-m', 1024), qr{^-m 1024 and }, 'but not for more');
like(warned("3:cpu,cpuacct:/x\n5:memory:/b/c\n0::/\n", { 'memory/b/c/memory.limit_in_bytes' => '9223372036854771712',
	'memory/b/memory.limit_in_bytes' => 70 * $mib }, '-m', 64), qr{the 70 MiB of /sys/fs/cgroup/memory/b/memory\.limit_in_bytes}, 'version 1');
is(warned("5:memory:/b\n", { 'memory/b/memory.limit_in_bytes' => '9223372036854771712' }), '', 'version 1 without a limit');
is(warned("nonsense\n\n0:\n5:memory2:/b\n", { 'memory/b/memory.limit_in_bytes' => 1, 'memory.max' => 'x' }), '', 'nonsense is none');

# ---- core dumps ----
# The parts of memory that hold a text, each with its flags.
sub holding
{
	my ($pid, $text) = @_;
	my @found;
	my ($from, $to);
	open my $mem, '<:raw', "/proc/$pid/mem" or die "mem: $!";
	for (split /\n/, slurp("/proc/$pid/smaps")) {
		($from, $to) = (hex $1, hex $2) if /^([0-9a-f]+)-([0-9a-f]+) r/;
		next unless defined $from && /^VmFlags:(.*)/;
		my $flags = $1;
		my $excluded = $flags =~ /\bdd\b/ ? 1 : 0;
		for (my $at = $from; $at < $to; $at += 1 << 24) {
			my $want = $to - $at < (1 << 24) + 64 ? $to - $at : (1 << 24) + 64;
			seek $mem, $at, 0;
			my $n = read($mem, my $bytes, $want);
			push @found, $excluded if $n && index($bytes, $text) >= 0;
		}
		undef $from;
	}
	return @found;
}
SKIP: {
	skip 'a sanitizer has its own memory', 6 if sanitizer();
	my $daemon = Hearth::Daemon->start(args => ['-m', 64, '-I', '8m', '-t', 1]);
	my $client = $daemon->client;
	my $secret = join '', map { chr(97 + int rand 26) } 1 .. 40;
	my %size = (small => 100, middle => 70_000, large => 3_000_000);
	for my $name (sort keys %size) {
		# The first part of a larger one passes through the connection's buffer, which is not kept out.
		my $before = $size{$name} > 20_000 ? 20_000 : 0;
		is($client->set($name, 'f' x $before . "$name-$secret" x (($size{$name} - $before) / 40)), 'STORED', "a $name value");
	}
	# The small one is overwritten there by the next requests.
	$client->set('other', 'x' x 16_000) for 1 .. 3;
	for my $name (sort keys %size) {
		my @in = holding($daemon->pid, "$name-$secret");
		ok(@in && !grep({ !$_ } @in), "the $name one is in memory, and would be in no core dump") or diag "excluded: @in";
	}
	$daemon->stop;
}
done_testing();
