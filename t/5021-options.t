#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# Options, their spellings, what is refused and with which exit code. Each failure is one line that names what failed.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Process qw(program reap run sanitizer scratch_dir slurp spawn spew tree_digest wait_until);
use IO::Socket::INET;
use IO::Socket::UNIX;
use Socket qw(SOL_SOCKET SO_PEERCRED);
use Test::More;

# Starts with @args, is refused with $code and one line like $message.
sub refused
{
	my ($code, $message, $what, @args) = @_;
	my ($got, $err) = Hearth::Daemon->refused(@args);
	is($got, $code, "$what: exit code $code");
	like($err, $message, "$what: the message names it");
	is($err =~ tr/\n//, 1, "$what: in one line") or diag $err;
	return;
}

# Starts with @args and answers.
sub accepted
{
	my ($what, $check, @args) = @_;
	my $daemon = Hearth::Daemon->start(dir => 'none', args => \@args);
	my $settings = $daemon->client->stats('settings');
	$check->($settings, $daemon) if $check;
	is($daemon->stop, 0, $what);
	return $daemon;
}

sub setting { my ($name, $value) = @_; return sub { is($_[0]{$name}, $value, "$name is $value"); }; }

# ---- usage: 64 ----
my @none = ('--data-dir', 'none');
refused(64, qr/--no-such/, 'an unknown option', '--no-such', @none);
refused(64, qr/-x\b/, 'an unknown letter', '-x', @none);
refused(64, qr/-m\b|--memory-limit/, 'a memory that is no number', '-m', 'lots', @none);
refused(64, qr/-m\b|--memory-limit/, 'an option without its value', @none, '-m');
refused(64, qr/-t\b|--threads/, 'no threads', '-t', '0', @none);
refused(64, qr/-I\b|--max-item-size/, 'an item size below 1 KiB', '-I', '100', @none);
refused(64, qr/-I\b|--max-item-size/, 'an item size above 1 GiB', '-I', '2g', '-m', 8192, @none);
refused(64, qr/-I\b|--max-item-size/, 'an item size above half the memory', '-I', '60m', '-m', 64, @none);
refused(64, qr/-p\b|--port/, 'a port that is none', '-p', '70000', @none);
refused(64, qr/--fsync/, 'a policy that is none', '--fsync', 'sometimes', @none);
refused(64, qr/--eviction/, 'an eviction that is none', '--eviction', 'fifo', @none);
refused(64, qr/--keep/, 'no snapshot kept', '--keep', '0', @none);
refused(64, qr/--snapshot-interval/, 'a negative interval', '--snapshot-interval', '-1', @none);
refused(64, qr/\bleftover\b/, 'a word that is no option', 'leftover', @none);
refused(64, qr/-S\b|--enable-sasl/, 'SASL, which is not there yet', '-S', @none);
refused(64, qr/-Y\b|--auth-file/, 'an auth file, which is not there yet', '-Y', '/dev/null', @none);
refused(64, qr/-Z\b|--enable-ssl/, 'TLS, which is not there yet', '-Z', @none);
refused(64, qr/-e\b|--memory-file/, 'a memory file, which is never there', '-e', '/tmp/x', @none);

# ---- the world: 67, 69, 71, 74 ----
if ($> == 0) {
	refused(67, qr/nosuchuser/, 'an unknown user', '-u', 'nosuchuser', @none);
}
my $holder = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1) or die;
my $taken = $holder->sockport;
refused(69, qr/$taken/, 'a port in use', '-l', '127.0.0.1', '-p', $taken, @none);
refused(69, qr/192\.0\.2\.1/, 'an address that is not ours', '-l', '192.0.2.1', @none);
my $dir = scratch_dir();
refused(69, qr{$dir/no/such/socket}, 'a socket in no directory', '-s', "$dir/no/such/socket", @none);
my $before = tree_digest($dir);
refused(69, qr/$taken/, 'a port in use, with a directory', '-l', '127.0.0.1', '-p', $taken, '--data-dir', "$dir/data");
is(tree_digest($dir), $before, 'which is not even made');
spew("$dir/file", "not a directory\n");
refused(74, qr{$dir/file}, 'a file in place of the directory', '--data-dir', "$dir/file");
refused(74, qr{$dir/no/data}, 'a directory in no directory', '--data-dir', "$dir/no/data");

# ---- memcached's letters and long names ----
accepted('-m 100', setting(maxbytes => 100 << 20), '-m', 100);
accepted('--memory-limit=100', setting(maxbytes => 100 << 20), '--memory-limit=100');
accepted('-m100 -t2, joined', setting(num_threads => 2), '-m100', '-t2');
accepted('--threads=3', setting(num_threads => 3), '--threads=3');
accepted('-c', setting(maxconns => 77), '-c', 77);
accepted('--conn-limit=78', setting(maxconns => 78), '--conn-limit=78');
accepted('-I 2m', setting(item_size_max => 2 << 20), '-I', '2m');
accepted('--max-item-size=512k', setting(item_size_max => 512 << 10), '--max-item-size=512k');
accepted('-b, -R, -v', undef, '-b', 100, '-R', 50, '-v');
accepted('-M', setting(evictions => 'off'), '-M');
accepted('-C', undef, '-C');

# ---- what tunes slabs, and UDP: accepted, and said once ----
for (['-f', '1.5'], ['-n', '96'], ['-L'], ['-o', 'modern'], ['-U', '0'], ['-U', '11311'], ['--slab-growth-factor=1.1']) {
	my @args = @$_;
	my $said;
	accepted("@args is accepted", sub { $said = $_[1]->errors; }, @args);
	my ($letter) = $args[0] =~ /^(-\w|--[a-z-]+)/;
	is(scalar(my @lines = $said =~ /^.*\Q$letter\E.*$/mg), 1, "@args is said once") or diag $said;
}

# ---- Hearth's own ----
accepted("--fsync $_", undef, '--fsync', $_) for qw(always everysec os);
accepted("--eviction=$_", undef, "--eviction=$_") for qw(s3fifo lru lfu ttl random mru);
accepted('intervals of 0', undef, '--snapshot-interval=0', '--snapshot-log-ratio', 0, '--keep', 3, '--strict');

# ---- where the data lie ----
sub data_of
{
	my ($arg, $env, $cwd) = @_;
	my $port = Hearth::Daemon::free_port();
	my $messages = scratch_dir() . '/err';
	my $daemon = bless { program => program('hearthd') =~ m{^/} ? program('hearthd') : "$ENV{PWD}/" . program('hearthd'),
		port => $port, errors => $messages, err_start => 0 }, 'Hearth::Daemon';
	my @user = $> == 0 ? ('-u', 'root') : ();
	$daemon->{pid} = Hearth::Process::spawn([$daemon->{program}, '-p', $port, @user, @$arg], err => $messages, env => $env,
		chdir => $cwd);
	my $status = $daemon->wait_ready;
	die 'ended: ' . $daemon->errors if defined $status;
	my $text = $daemon->errors;
	is($daemon->stop, 0, "stops in order: @$arg");
	return ($text, $port);
}
my $cwd = scratch_dir();
my ($text, $port) = data_of([], {}, $cwd);
ok(-d "$cwd/hearth-data-$port", 'without an option: ./hearth-data-PORT');
is(sprintf('%o', (stat _)[2] & 07777), '700', 'for its user alone');
like($text, qr{\Q$cwd\E/hearth-data-$port}, 'named in full');
data_of([], { HEARTH_DATA_DIR => "$cwd/env" }, $cwd);
ok(-d "$cwd/env", 'HEARTH_DATA_DIR names it');
data_of(['--data-dir', "$cwd/flag"], { HEARTH_DATA_DIR => "$cwd/env2" }, $cwd);
ok(-d "$cwd/flag" && !-e "$cwd/env2", 'the option is above it');
data_of(['--data-dir', 'relative'], {}, $cwd);
ok(-d "$cwd/relative", 'a relative one');
my @left = grep { !m{/(?:env|flag|relative|hearth-data-\d+)$} } glob "$cwd/*";
is("@left", '', 'nothing else was made');
my @modes = grep { my @st = lstat; -f _ && ($st[2] & 077) } glob "$cwd/flag/*";
is("@modes", '', 'its files are for its user alone');

# ---- a daemon in the background ----
my $pidfile = "$cwd/pid";
my $socket = "$cwd/sock";
my ($code, $out, $err) = run([program('hearthd'), '-d', '-P', $pidfile, '-s', $socket, '--data-dir', "$cwd/background",
	$> == 0 ? ('-u', 'root') : ()]);
is($code, 0, '-d returns at once') or diag $err;
my $client = wait_until('the socket', sub { Hearth::Client->new(unix => $socket, quiet => 1); });
is($client->ask("version\r\n"), 'VERSION 1.6.45', '-d -P -s: it answers');
my $pid = slurp($pidfile) =~ /^(\d+)\n\z/ ? $1 : 0;
cmp_ok($pid, '>', 1, 'the pid file holds its pid');
is($client->stats->{pid}, $pid, 'which is its own');
kill 'TERM', $pid;
wait_until('its end', sub { !kill 0, $pid });
ok(!-e $pidfile, 'the pid file is gone at the end');

# ---- one that is told to stop, or killed, while it loads ----
SKIP: {
	skip 'no strace under a sanitizer', 12 if sanitizer();
	my $daemon = Hearth::Daemon->start(args => ['-m', 64, '--snapshot-interval', 0]);
	my $c = $daemon->client;
	$c->set("k$_", 'v' x 4000) for 1 .. 3000;
	$daemon->stop;
	my $data = $daemon->dir;
	my @logs = map { ('-P', $_) } glob "$data/log-*";
	# Each read is held for a while, and so is the load.
	my @held = ('strace', '-D', '-f', '-o', '/dev/null', @logs, '-e', 'trace=pread64', '-e', 'inject=pread64:delay_enter=300000');
	for my $case (['TERM', 143], ['INT', 143, '--log-file', "$cwd/log"], ['KILL', 71], ['KILL', 71, '--log-file', "$cwd/log"]) {
		my ($signal, $expected, @more) = @$case;
		unlink "$cwd/log", "$cwd/err";
		my $parent = spawn([@held, program('hearthd'), '-d', '-m', 64, '-s', $socket, '--data-dir', $data, @more, $> == 0 ? ('-u', 'root') : ()],
			err => "$cwd/err");
		my $admin = wait_until('it to load', sub { IO::Socket::UNIX->new(Peer => "$data/admin.sock") });
		my ($loader) = unpack 'l', getsockopt $admin, SOL_SOCKET, SO_PEERCRED;
		kill $signal, $loader;
		my $status = reap($parent, 60);
		is($status, $expected << 8, "-d, and $signal while it loads: $expected @more");
		my $why = $signal eq 'KILL' ? 'the daemon was killed before it served' : 'told to stop while it was loading: it does not run';
		like(slurp(@more ? "$cwd/log" : "$cwd/err"), qr/error: -d: \Q$why\E$/m, 'the reason is told');
		like(slurp("$cwd/err"), qr{^hearthd: error: stopped with code $expected: \S+/log says why$}m, 'and where') if @more;
		wait_until('its end', sub { !kill 0, $loader });
	}
	$daemon->{prefix} = \@held;
	$daemon->{pid} = spawn([$daemon->command], err => $daemon->{errors});
	wait_until('it to load', sub { IO::Socket::UNIX->new(Peer => "$data/admin.sock") });
	kill 'TERM', $daemon->pid;
	is($daemon->ended, 0, 'in the foreground it is what was asked: 0');
	$daemon->{prefix} = [];
	$daemon->up;
	is($daemon->client->stats->{curr_items}, 3000, 'and nothing is lost by all that');
	$daemon->stop;
}
done_testing();
