#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# A control group that is too small for -m is told at the start, version 2 and 1, its own limit and those above. Values are kept
# out of core dumps.
use strict;
use warnings;
no warnings 'portable'; # addresses are longer than 32 bits
use lib 't/lib';
use Cwd qw(abs_path);
use Hearth::Mount;
BEGIN { Hearth::Mount::private() }
use Hearth::Daemon;
use Hearth::Process qw(program run sanitizer scratch_dir slurp spew wait_until);
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
{
	my $cores = (run(['getconf', '_NPROCESSORS_ONLN']))[1];
	# And a fifth of a MiB for the workers, rounded up.
	my ($beside) = warned("0::/a\n", { 'a/memory.max' => 65 * $mib }, '-m', 64) =~ /and (\d+) MiB/;
	for my $file (qw(man/hearthd.8 man/hearth-sizing.7 src/README.md)) {
		my ($fixed, $each) = slurp($file) =~ /(\d+) MiB, (\d+) MiB a core/;
		my $most = $fixed + $each * $cores;
		ok($beside > $most && $beside <= $most + 2, "what a start takes, as $file says") or diag "$beside for $most";
	}
}
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
# Values in memory, on their way in and on their way out, and what the log and a snapshot have made of them.
my %size = (small => 100, middle => 70_000, large => 3_000_000);
sub secret_of { my ($name, $secret) = @_; return "$name-$secret"; }

# Of a core dump of 64 bits, without what the registers held: these may have a piece of the last value that was copied.
sub memory_of
{
	my ($core) = @_;
	my ($at, $n) = (unpack('x32 Q', $core), unpack('x56 S', $core));
	my @parts = grep { $_->[0] == 1 } map { [unpack 'L x4 Q x16 Q', substr $core, $at + 56 * $_, 56] } 0 .. $n - 1;
	return join '', map { substr $core, $_->[1], $_->[2] } @parts;
}

# Keeps the connections, which are in the middle of something.
sub fill
{
	my ($daemon, $secret) = @_;
	my $client = $daemon->client;
	for my $name (sort keys %size) {
		my $text = secret_of($name, $secret);
		is($client->set($name, $text x ($size{$name} / length $text)), 'STORED', "a $name value");
	}
	# One whose answers nobody reads, each small enough to be copied.
	my $reader = $daemon->client;
	my $text = secret_of('answer', $secret);
	$client->set("a$_", $text x (3000 / length $text)) for 1 .. 100;
	$reader->put(join '', map { 'get ' . join(' ', map { "a$_" } 1 .. 100) . "\r\n" } 1 .. 60);
	# Two that have sent a part: one whose value goes to the store as it comes, and one whose value waits for its end.
	my @writers = map { $daemon->client } 1 .. 2;
	$text = secret_of('partial', $secret);
	$writers[0]->put("set p1 0 0 9000\r\n" . $text x (6000 / length $text));
	$writers[1]->put("set p2 0 0 3000000\r\n" . $text x (9000 / length $text));
	return ($client, $reader, @writers);
}

SKIP: {
	skip 'a sanitizer has its own memory', 14 if sanitizer();
	skip 'cores go to a program', 14 unless slurp('/proc/sys/kernel/core_pattern') =~ m{^[^|/]+$};
	my $where = scratch_dir();
	my $daemon = Hearth::Daemon->start(args => ['-m', 64, '-I', '8m', '-t', 1, '-r'], program => abs_path(program('hearthd')), prefix => ['sh', '-c', 'cd "$0" && exec "$@"', $where]);
	my $secret = join '', map { chr(97 + int rand 26) } 1 .. 40;
	my @open = fill($daemon, $secret);
	wait_until('all parts to arrive', sub { my ($answer, $partial) = map { scalar(my @in = holding($daemon->pid, secret_of($_, $secret))) } qw(answer partial); $answer && $partial });
	my @names = (sort(keys %size), 'answer', 'partial');
	for my $name (@names) {
		my @in = holding($daemon->pid, secret_of($name, $secret));
		ok(@in && !grep({ !$_ } @in), "the $name one is in memory, and would be in no core dump") or diag "excluded: @in";
	}
	kill 'ABRT', $daemon->pid;
	$daemon->ended(120);
	my ($core) = glob "$where/*";
	my $bytes = defined $core ? slurp($core) : '';
	like($bytes, qr/^\x7fELF/, 'a core dump');
	$bytes = memory_of($bytes);
	cmp_ok(index($bytes, $daemon->dir), '>', 0, 'with what the program holds');
	is(index($bytes, secret_of($_, $secret)), -1, "the $_ one is not in it") for @names;
}
done_testing();
