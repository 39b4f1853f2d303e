#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# Directories that a start must refuse, without changing one byte: one in use, a foreign one, one of a newer version,
# one without permission. And a start never loses what it refused.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Forge qw(crc32c);
use Hearth::Process qw(program run scratch_dir slurp spew spawn reap tree_digest wait_until sanitizer);
use Test::More;
use Time::HiRes qw(sleep);

# Starts on a directory and is refused with the code; not one byte changes.
sub refused
{
	my ($code, $message, $what, $dir, @args) = @_;
	my $before = tree_digest($dir);
	my ($got, $err) = Hearth::Daemon->refused('--data-dir', $dir, @args);
	is($got, $code, "$what: exit code $code") or diag $err;
	like($err, $message, "$what: the line names it");
	is($err =~ tr/\n//, 1, "$what: one line") or diag $err;
	is(tree_digest($dir), $before, "$what: not one byte changed");
	return;
}

# ---- in use ----
my $daemon = Hearth::Daemon->start(args => ['--snapshot-interval', 0]);
my $dir = $daemon->dir;
$daemon->client->set("k$_", $_) for 1 .. 100;
my $pid = $daemon->pid;
refused(75, qr/\b$pid\b/, 'a directory in use', $dir);
symlink $dir, "$dir-link";
refused(75, qr/\b$pid\b/, 'the same through a link', "$dir-link");
is($daemon->client->get('k50'), 50, 'its daemon serves on');

# Many at once: one serves.
my $race = scratch_dir() . '/race';
my @started = map {
	my $port = Hearth::Daemon::free_port();
	{ port => $port, pid => spawn([program('hearthd'), '-p', $port, '-l', '127.0.0.1', $> == 0 ? ('-u', 'root') : (),
		'--data-dir', $race], err => "$race-$_") };
} 1 .. 12;
my %code;
wait_until('eleven to give up', sub {
	for (grep { !defined $code{ $_->{pid} } } @started) {
		my $status = reap($_->{pid}, 0);
		$code{ $_->{pid} } = $status >> 8 if defined $status;
	}
	return keys %code >= 11;
}, 60);
my @left = grep { !defined $code{ $_->{pid} } } @started;
is(scalar @left, 1, 'twelve started at once: one serves');
is(join(' ', values %code), join(' ', (75) x 11), 'the others find it in use');
wait_until('it listens', sub { eval { Hearth::Client->new(port => $left[0]{port}) } }, 60) if @left;
is(Hearth::Client->new(port => $left[0]{port})->set('a', 1), 'STORED', 'it does serve') if @left;
for (@left) {
	kill 'TERM', $_->{pid};
	is(reap($_->{pid}, 60), 0, 'and stops in order');
}

# ---- killed: the lock is gone with the process ----
$daemon->crash;
is($daemon->client->get('k50'), 50, 'the lock of a killed daemon holds nobody up');
is($daemon->stop, 0, 'stops in order');

# ---- a newer version ----
sub copy { my $to = scratch_dir() . '/copy'; run(['cp', '-a', $dir, $to]); return $to; }

is(crc32c(0, '123456789'), 0xe3069283, 'CRC-32C');

my $newer = copy();
my $manifest = slurp("$newer/MANIFEST");
is(substr($manifest, 0, 8), 'HEARTHMF', 'the manifest has its magic');
my $half = length($manifest) / 2;
for my $copy (0, $half) {
	substr $manifest, $copy + 8, 4, pack 'V', 99;
	my $body = unpack 'V', substr $manifest, $copy + 12, 4;
	substr $manifest, $copy + 16, 4, pack 'V', crc32c(0, substr($manifest, $copy, 16) . substr $manifest, $copy + 20, $body);
}
spew("$newer/MANIFEST", $manifest);
refused(65, qr/MANIFEST.*(?:newer|version)/i, 'a manifest of a newer version', $newer);

# ---- foreign ----
my $foreign = scratch_dir();
spew("$foreign/photos.tar", 'x' x 5000);
refused(65, qr/\Q$foreign\E/, 'a directory with other files', $foreign);
my $stranger = Hearth::Daemon->start;
$stranger->client->set('mine', 'stranger');
is($stranger->stop, 0, 'another lineage');
my $mixed = copy();
my ($log) = sort glob $stranger->dir . '/log-*';
my ($own) = reverse sort glob "$mixed/log-*";
run(['cp', $log, $own]);
my $after = Hearth::Daemon->start(dir => $mixed);
is($after->client->get('mine'), undef, "a log of another directory, slipped in: nothing of it is served");
like($after->errors, qr/log-\d+/, 'and it is named');
$after->stop;

# ---- permissions ----
SKIP: {
	skip 'needs another user, whom gcov does not let write', 4 if $> != 0 || sanitizer() eq 'coverage';
	my $roots = scratch_dir();
	chmod 0711, $roots, $roots =~ s{/[^/]+$}{}r;
	mkdir "$roots/data", 0700;
	refused(74, qr{\Q$roots/data\E}, 'a directory that its user may not write', "$roots/data", '-u', 'nobody');
}
done_testing();
