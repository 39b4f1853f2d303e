#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# What hearth export says that a directory holds is what a daemon serves that is started on it: after kill -9 in the middle of
# writes, deletes, touches, flushes and snapshots, with values packed and not. Of a damaged one it is what a restored copy
# serves. Draws at random; HEARTH_SEED repeats it.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Files qw(copy_dir flip newest);
use Hearth::Process qw(program run scratch_dir remove_dir spew long_run);
use JSON::PP;
use Test::More;

my $seed = $ENV{HEARTH_SEED} // time ^ $$;
srand $seed;
diag "HEARTH_SEED=$seed";
my $rounds = long_run() ? 40 : 8;
my $json = JSON::PP->new->utf8;

# Exit code, and key => [value, flags, expiry, binary] of what an export says.
sub export_of
{
	my (@args) = @_;
	my ($code, $out, $err) = run([program('hearth'), 'export', @args]);
	my %items;
	for my $item (map { $json->decode($_) } split /\n/, $out) {
		my $key = $item->{key} // "b64:$item->{key_b64}";
		$items{$key} = $items{$key} ? 'TWICE' : join '|', $item->{value} // "b64:$item->{value_b64}", $item->{flags}, $item->{exp}, $item->{binary_key} ? 1 : 0;
	}
	return ($code, \%items, $err);
}

# What differs, a few keys of it; but for what has expired, or does so now: the two were not read at the same time.
sub difference
{
	my ($got, $expected) = @_;
	my %all = (%$got, %$expected);
	my $now = time;
	for (keys %all) {
		my ($expiry) = $all{$_} =~ /\|(\d+)\|\d\z/;
		delete $all{$_} if $expiry && $expiry <= $now + 1;
	}
	my @differ = grep { ($got->{$_} // 'none') ne ($expected->{$_} // 'none') } sort keys %all;
	return join "\n", map { "$_: " . substr($got->{$_} // 'none', 0, 100) . ' / ' . substr($expected->{$_} // 'none', 0, 100) } splice @differ, 0, 5;
}

# Far enough that nothing expires on the way, or soon past.
sub expiry { my $r = int rand 4; return $r == 0 ? 0 : $r == 1 ? time + 5000 : $r == 2 ? time + 40 * 86_400 : time + 1 + int rand 2; }

sub value
{
	my ($i) = @_;
	my $r = int rand 10;
	return '' if $r == 0;
	return join('', map { chr int rand 256 } 1 .. rand 300) if $r == 1;
	return 'L' x rand 400_000 if $r == 2 && !int rand 20;
	return qq({"id":$i,"name":"user number $i","mail":"user$i\@example.org","active":true}) x 2;
}

# Random work until told to stop, or for so many changes.
sub work
{
	my ($c, $n) = @_;
	for my $i (1 .. $n) {
		my $key = 'k' . int rand 400;
		my $r = int rand 100;
		if ($r < 60) {
			$c->set($key, value($i), flags => int rand 5, exptime => expiry());
		} elsif ($r < 75) {
			$c->ask("delete $key\r\n");
		} elsif ($r < 85) {
			$c->ask("touch $key " . expiry() . "\r\n");
		} elsif ($r < 90) {
			$c->ask("md $key I T30000\r\n");
		} elsif ($r < 95) {
			$c->ask("ms AAEC" . sprintf('%04d', rand 20) . " 2 b F3\r\nxy\r\n");
		} elsif ($r < 96 && !int rand 8) {
			$c->ask("flush_all\r\n");
		} else {
			$c->set("n$key", int rand 100);
			$c->ask("incr n$key 7\r\n");
		}
	}
	return;
}

for my $round (1 .. $rounds) {
	my @args = ('--snapshot-interval', 0, '--snapshot-log-ratio', 0, '--keep', 1 + int rand 3, '-m', 64, int rand 2 ? '--compress' : ());
	my $daemon = Hearth::Daemon->start(args => \@args);
	for (0 .. rand 4) {
		work($daemon->client, 200 + rand 1500);
		run([program('hearth'), 'snapshot', $daemon->dir]) if int rand 2;
		$daemon->crash if !int rand 4;
	}
	work($daemon->client, rand 500);
	if (int rand 3) { $daemon->kill9 } else { $daemon->stop }
	sleep 3 if $round % 4 == 0; # what expires soon has

	my ($code, $held, $err) = export_of($daemon->dir);
	is($code, 0, "round $round: a directory after its end") or diag $err;
	my $copy = copy_dir($daemon->dir);
	my $again = Hearth::Daemon->start(dir => $copy, args => \@args);
	my ($live_code, $live, $live_err) = export_of('--server', '127.0.0.1:' . $again->port);
	is($live_code, 0, 'a daemon on it') or diag $live_err;
	is(difference($held, $live), '', 'the same items') or diag "HEARTH_SEED=$seed";
	my ($code2, $written) = export_of($copy);
	is(difference($written, $live), '', 'and while it runs');
	is($again->stop, 0, 'stops in order');

	# One bit is other, somewhere.
	my $bad = copy_dir($daemon->dir);
	my @files = grep { -s } glob("$bad/log-*"), glob "$bad/snapshot-*";
	my $file = $files[rand @files];
	flip($file, int rand -s $file, int rand 8);
	($code, $held, $err) = export_of($bad);
	my $restored = scratch_dir() . '/restored';
	my ($restore_code, undef, $restore_err) = run([program('hearth'), 'restore', $bad, '--to', $restored]);
	if ($restore_code == 0) {
		ok($code == 0 || $code == 2, "a damaged one: $code") or diag "$file: $err";
		my ($c2, $kept) = export_of($restored);
		is(difference($held, $kept), '', 'holds what restore keeps of it') or diag "HEARTH_SEED=$seed $file";
		isnt($err, '', 'and damage is named') if $code == 2;
	} else {
		is($code, $restore_code, "nothing to be had: $code") or diag "$err$restore_err";
	}
	remove_dir($_) for $daemon->dir, $copy, $bad, $restored;
}
done_testing();
