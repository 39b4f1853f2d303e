#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# Options of a daemon that runs: HUP reads the configuration again, hearth set changes one, and what cannot be changed is
# named. Whether it counts is seen by what the daemon does, not by what it says.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Process qw(program run scratch_dir slurp spew wait_until);
use IO::Socket::INET;
use JSON::PP;
use Test::More;

my $dir = scratch_dir();
my $file = "$dir/hearth.conf";

# Has the daemon read this and waits for what it says of it.
sub reload
{
	my ($daemon, $text, $last) = @_;
	my $before = length $daemon->errors;
	spew($file, $text);
	kill 'HUP', $daemon->pid;
	my $said;
	wait_until('what it says', sub { ($said = substr $daemon->errors, $before) =~ /\Q$last\E/ });
	# The thread that reads it answers this, when it has said all.
	set($daemon);
	return substr $daemon->errors, $before;
}

sub set { my ($daemon, @words) = @_; return run([program('hearth'), 'set', $daemon->dir, @words]); }

sub changeable
{
	my ($daemon) = @_;
	my ($code, $out, $err) = set($daemon);
	is($code, 0, 'what can be set is listed') or diag $err;
	return { $out =~ /^(\S+) (.*)$/mg };
}

sub persist { my ($daemon, $name) = @_; return $daemon->client->stats('persist')->{$name}; }

spew($file, "memory-limit = 64\nsnapshot-interval = 0\nkeep = 3\n");
my $daemon = Hearth::Daemon->start(args => ['--config', $file, '-R', 50]);
my $client = $daemon->client;

# ---- HUP ----
my $said = reload($daemon, "memory-limit = 96\nsnapshot-interval = 1\nkeep = 2\nthreads = 2\nstrict = yes\n", 'read again');
like($said, qr/memory-limit: now 96/, 'what changed is told');
like($said, qr/threads: 2 needs a restart/, 'what cannot be changed is named');
like($said, qr/strict: yes needs a restart, where alone it counts/, 'so is what matters at a start only');
unlike($said, qr/fsync|conn-limit|max-reqs/, 'what is as it was is not');
is($client->stats('settings')->{maxbytes}, 96 << 20, 'memory is what the file says');
$client->ask("set a 0 0 1\r\n1\r\n");
wait_until('a snapshot by the new interval', sub { persist($daemon, 'snapshots') >= 1 });
my $now = changeable($daemon);
is("$now->{'memory-limit'} $now->{'snapshot-interval'} $now->{keep}", '96 1 2', 'the list shows what is in force');
ok(!defined $now->{threads}, 'and no more than can be set');
my ($named) = slurp('man/hearth.conf.5') =~ /take effect at once(.*?)Others that changed/s;
is(join(' ', sort keys %$now), join(' ', sort grep { $_ ne 'set' } $named =~ /^\.Cm ([a-z-]+)/mg), 'the page names the same');

# Each option is either one of those, or named with why it is not, or has no meaning for a daemon that runs.
my ($restart) = slurp('man/hearth.conf.5') =~ /What needs a restart(.*?)^\.Sh EXAMPLES/ms;
my %named = map { $_ => 1 } keys %$now, map { split / , / } $restart =~ /^\.It Cm (.*)/mg;
my ($help) = (run([program('hearthd'), '--help']))[1];
my %shown = $help =~ /^ +(?:-.,)? +--([a-z-]+)(\N*)/mg;
cmp_ok(scalar keys %shown, '>', 50, 'there are options');
is(join(' ', grep { !$named{$_} && $shown{$_} !~ /has no effect here|refused$/ } sort keys %shown),
	'check-config config help license print-config version', 'the page says of each option when it counts');
is(join(' ', grep { !$shown{$_} } sort keys %named), '', 'and names no other');

$said = reload($daemon, "memory-limit = 100\nkeep = none\n", 'nothing was changed');
like($said, qr/\Q$file\E line 2: keep none: not a number/, 'a file that makes no sense is told');
is($client->stats('settings')->{maxbytes}, 96 << 20, 'and nothing of it counts');
$said = reload($daemon, "memory-limit = 1\nmax-item-size = 1k\n", 'error');
is($client->stats('settings')->{maxbytes}, 96 << 20, 'memory that is too little is refused') or diag $said;
SKIP: {
	skip 'so many descriptors may be had here', 3 if slurp('/proc/sys/fs/nr_open') > 16_000_000;
	$said = reload($daemon, "memory-limit = 80\nconn-limit = 16000000\n", 'without what was not to be had');
	like($said, qr/conn-limit 16000000: no descriptors/, 'what cannot be had is told');
	is(join(' ', $said =~ /(\S+): now /g), 'memory-limit', 'and not told to be so; the rest is');
	is(changeable($daemon)->{'memory-limit'} << 20, $client->stats('settings')->{maxbytes},
		'what is listed is what is in force when a part of it was refused');
}
unlink $file;
kill 'HUP', $daemon->pid;
wait_until('an error', sub { $daemon->errors =~ /--config \Q$file\E: No such file/ });
is($client->get('a'), '1', 'it goes on without its file');

# ---- hearth set ----
my ($code, $out, $err) = set($daemon, 'conn-limit', 5);
is("$code$out$err", 0, 'a number is set');
is($client->stats->{max_connections}, 5, 'the limit is what was set');
my @held = map { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $daemon->port) } 1 .. 8;
my $refused = grep { my $line = ''; print {$_} "version\r\n"; sysread $_, $line, 100; $line !~ /^VERSION/ } grep { $_ } @held;
cmp_ok($refused, '>=', 3, 'and connections above it are refused');
close $_ for grep { $_ } @held;
is((set($daemon, 'disable-flush-all', 'yes'))[0], 0, 'a yes is set');
like($client->ask("flush_all\r\n"), qr/^CLIENT_ERROR flush_all not allowed/, 'and counts');
is((set($daemon, 'disable-flush-all', 'no'))[0], 0, 'and a no');
is($client->ask("flush_all\r\n"), 'OK', 'counts again');
for (['threads', 2, qr/cannot be changed while it runs/], ['no-such', 1, qr/cannot be changed/], ['keep', 'many', qr/not a number/],
	['keep', 0, qr/must be 1 to/], ['fsync', 'never', qr/must be one of/], ['memory-limit', 1 << 20, qr/memory-limit/]) {
	my ($name, $value, $why) = @$_;
	($code, $out, $err) = set($daemon, $name, $value);
	is("$code$out", 64, "set $name $value is refused");
	like($err, $why, 'with the reason');
}
is((set($daemon, 'keep'))[0], 64, 'a name without its value is wrong usage');
is((set($daemon, 'keep', "2\nsnapshot"))[0], 64, 'so is a value of two lines');
is((run([program('hearth'), 'set', scratch_dir(), 'keep', 1]))[0], 69, 'nobody to ask: 69');
($code, $out) = set($daemon, '--json');
is(decode_json($out)->{'conn-limit'}, 5, 'as JSON');
($code, $out, $err) = set($daemon, 'keep', 2, '--json');
is($out, qq({"name":"keep","value":"2"}\n), 'what is changed as JSON');
is("$code$err", 0, 'and nothing else');
($code, $out) = set($daemon, 'keep', 'many', '--json');
is("$code$out", 64, 'no data where nothing is changed');

# ---- fsync, by how often the log is synced ----
is((set($daemon, 'fsync', 'always'))[0], 0, 'the policy is set');
my $before = persist($daemon, 'log_syncs');
$client->ask("set k$_ 0 0 1\r\n1\r\n") for 1 .. 20;
cmp_ok(persist($daemon, 'log_syncs') - $before, '>=', 20, 'always: each change is synced before its reply');
is((set($daemon, 'fsync', 'os'))[0], 0, 'and set again');
$before = persist($daemon, 'log_syncs');
$client->ask("set k$_ 0 0 1\r\n1\r\n") for 1 .. 20;
cmp_ok(persist($daemon, 'log_syncs') - $before, '<', 20, 'os: none is waited for');
is((set($daemon, 'fsync', 'everysec'))[0], 0, 'and back');
is($client->ask("set last 0 0 1\r\n1\r\n"), 'STORED', 'it serves');
$daemon->crash(args => []);
is($daemon->client->get('last'), '1', 'and nothing was lost by all that');
is($daemon->stop, 0, 'it stops in order');

# ---- without a directory ----
spew($file, "memory-limit = 64\n");
$daemon = Hearth::Daemon->start(dir => 'none', args => ['--config', $file]);
reload($daemon, "memory-limit = 72\nfsync = always\n", 'read again');
is($daemon->client->stats('settings')->{maxbytes}, 72 << 20, 'HUP without a directory');
is($daemon->stop, 0, 'it stops in order');
done_testing();
