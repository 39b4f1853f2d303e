# SPDX-License-Identifier: BSD-3-Clause
# File systems of a test's own, in a mount namespace of its own: they and their loop devices are gone with the test,
# whatever becomes of it.
package Hearth::Mount;
use strict;
use warnings;
use Carp qw(croak);
use Hearth::Process qw(run scratch_dir);
use POSIX ();
use Test::More ();

my @mounted;

# Runs the test again in a namespace of its own; skips all of it, with the reason, where that is not to be had. Call this
# before anything else.
sub private
{
	return if ($ENV{HEARTH_PRIVATE_MOUNTS} // 0) == $$;
	Test::More::plan(skip_all => 'mounts need root') if $> != 0;
	my ($code, $out, $err) = run(['unshare', '-m', '--propagation', 'private', 'true']);
	Test::More::plan(skip_all => "no mount namespace: $err") if $code;
	$ENV{HEARTH_PRIVATE_MOUNTS} = $$; # exec keeps the pid
	exec 'unshare', '-m', '--propagation', 'private', $^X, $0, @ARGV or die "unshare: $!";
}

# A mount point with what is mounted there; undef when mount refuses.
sub mount
{
	my (@arguments) = @_;
	my $at = scratch_dir() . '/mnt';
	mkdir $at;
	my ($code, $out, $err) = run(['mount', @arguments, $at]);
	if ($code) {
		Test::More::note("mount @arguments: $err");
		return undef;
	}
	push @mounted, $at;
	return $at;
}

sub remount
{
	my ($at, $options) = @_;
	my ($code, $out, $err) = run(['mount', '-o', "remount,$options", $at]);
	croak "remount $at: $err" if $code;
	return;
}

# An ext4 file system of so many MiB in a sparse file in a directory; undef when that cannot be made.
sub ext4
{
	my ($in, $mib, @options) = @_;
	my $image = "$in/image";
	open my $f, '>', $image or croak "$image: $!";
	truncate $f, $mib << 20 or croak "$image: $!";
	close $f;
	my ($code, $out, $err) = run(['mkfs.ext4', '-q', '-F', '-m', 0, $image]);
	if ($code) {
		Test::More::note("mkfs.ext4: $err");
		return undef;
	}
	return Hearth::Mount::mount('-o', join(',', 'loop', @options), $image);
}

# Freezes a file system for so many seconds. A process of its own thaws it, whatever becomes of the test.
sub freeze
{
	my ($at, $seconds) = @_;
	my ($code, $out, $err) = run(['fsfreeze', '-f', $at]);
	if ($code) {
		Test::More::note("fsfreeze: $err");
		return undef;
	}
	my $pid = fork // croak "fork: $!";
	return $pid if $pid;
	setpgrp;
	$SIG{$_} = 'IGNORE' for qw(INT TERM HUP);
	select undef, undef, undef, $seconds;
	{ exec 'fsfreeze', '-u', $at }
	POSIX::_exit(127);
}

# False when it is in use.
sub unmount
{
	my ($at, @options) = @_;
	my ($code) = run(['umount', @options, $at]);
	@mounted = grep { $_ ne $at } @mounted unless $code;
	return $code == 0;
}

END {
	if (@mounted && ($ENV{HEARTH_PRIVATE_MOUNTS} // 0) == $$) {
		my $status = $?;
		system 'umount', '-l', $_ for reverse @mounted;
		$? = $status;
	}
}

1;
