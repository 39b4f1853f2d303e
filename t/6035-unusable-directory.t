#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# Directories that cannot be used: on a read-only file system, without permission, missing, a file, a link to nowhere; and
# any system call of a start that fails (made by strace) with EROFS, EACCES, ESTALE, EIO, ENOSPC, ENOMEM or EMFILE. A start
# serves all that was acknowledged, or all that is provably good and says what it left out, or it refuses with a code that
# is documented and one line; the start after it finds everything. A directory that is moved away or replaced under a
# running daemon stays its own.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Mount;
BEGIN { Hearth::Mount::private() }
use Hearth::Budget;
use Hearth::Daemon;
use Hearth::Files qw(copy_dir);
use Hearth::Ledger;
use Hearth::Process qw(remove_dir run sanitizer scratch_dir slurp spew tree_digest);
use Storable qw(dclone);
use Test::More;

my $budget = Hearth::Budget->new(share => 0.06);

# ---- a start that must refuse, and change nothing ----

sub refused
{
	my ($what, $dir, $pattern, @args) = @_;
	my $before = -d $dir ? tree_digest($dir) : '';
	my ($code, $err) = Hearth::Daemon->refused('--data-dir', $dir, @args);
	$budget->case;
	is($code, 74, "$what: exit code 74") or diag $err;
	like($err, $pattern, "$what: it is named");
	is($err =~ tr/\n//, 1, "$what: one line") or diag $err;
	is(-d $dir ? tree_digest($dir) : '', $before, "$what: not one byte changed");
	return;
}

my $daemon = Hearth::Daemon->start(args => ['-m', 64, '-t', 1, '--snapshot-interval', 0]);
my $ledger = Hearth::Ledger->new(daemon => $daemon);
$ledger->any('k', 20) for 1 .. 60;
run([Hearth::Process::program('hearth'), 'snapshot', $daemon->dir]);
$ledger->any('k', 20) for 1 .. 30;
$daemon->kill9;
my $base = $daemon->dir;

my $place = scratch_dir();
refused('no parent', "$place/none/data", qr{\Q$place/none/data\E: .*No such file}, );
spew("$place/file", 'text');
refused('a file', "$place/file", qr{\Q$place/file\E: .*Not a directory});
symlink "$place/nowhere/else", "$place/link";
refused('a link to nowhere', "$place/link", qr{\Q$place/link\E: .*(?:No such file|File exists)});
symlink "$place/loop", "$place/loop";
refused('a link to itself', "$place/loop", qr{Too many levels});
refused('a name without end', "$place/" . 'n' x 300, qr{File name too long});

SKIP: {
	my $tmpfs = Hearth::Mount::mount('-t', 'tmpfs', '-o', 'size=8m', 'none');
	skip 'no tmpfs', 8 unless $tmpfs;
	mkdir "$tmpfs/empty", 0700;
	run(['cp', '-a', copy_dir($base), "$tmpfs/data"]);
	Hearth::Mount::remount($tmpfs, 'ro');
	refused('a read-only file system', "$tmpfs/data", qr{\Q$tmpfs/data\E.*Read-only file system});
	refused('a new directory on it', "$tmpfs/new", qr{\Q$tmpfs/new\E.*Read-only file system});
	Hearth::Mount::remount($tmpfs, 'rw');
	my $again = Hearth::Daemon->start(dir => "$tmpfs/data");
	my $book = dclone_for($again);
	$book->verify('writable again');
	is($book->problems, '', 'writable again: all is there');
	is($again->stop, 0, 'stops in order');
	Hearth::Mount::unmount($tmpfs);
}

sub dclone_for
{
	my ($other) = @_;
	my %book = map { ref $ledger->{$_} && $_ ne 'may' ? () : ($_ => ref $ledger->{$_} ? dclone($ledger->{$_}) : $ledger->{$_}) }
	    keys %$ledger;
	return bless { %book, problems => [], daemon => $other }, 'Hearth::Ledger';
}

# ---- moved, replaced ----

for my $how (qw(moved replaced)) {
	my $dir = scratch_dir() . '/data';
	my $own = Hearth::Daemon->start(dir => $dir, args => ['-t', 1]);
	my $book = Hearth::Ledger->new(daemon => $own);
	$book->set("k$_") for 1 .. 5;
	rename $dir, "$dir-moved" or die $!;
	run(['cp', '-a', copy_dir($base), $dir]) if $how eq 'replaced';
	my $other = Hearth::Daemon->start(dir => $dir);
	my $theirs = $how eq 'replaced' ? dclone_for($other) : Hearth::Ledger->new(daemon => $other);
	$theirs->verify("$how: the new one at the old name");
	$theirs->set("k$_") for 1 .. 5;
	$book->set("k$_") for 3 .. 8;
	kill 'USR2', $own->pid, $other->pid;
	$book->delete("k$_") for 1 .. 2;
	is($own->stop, 0, "$how: stops in order") or diag $own->errors;
	is($other->stop, 0, "$how: the other too");
	$budget->case("$dir-moved");
	$budget->case($dir);
	@$own{qw(dir)} = ("$dir-moved");
	$_->up for $own, $other;
	$book->verify("$how: at its new name");
	$theirs->verify("$how: at the old name");
	is($book->problems . $theirs->problems, '', "$how: each has its own");
	$_->stop for $own, $other;
}

# ---- each call of a start fails ----

my @calls = qw(openat fstat newfstatat flock pread64 read getdents64 writev write fsync fdatasync renameat unlinkat mkdirat ftruncate fallocate);
my @errors = qw(EROFS EACCES ESTALE EIO ENOSPC ENOMEM EMFILE);
my %documented = map { $_ => 1 } 0, 65, 69, 71, 74, 75;

# Starts a copy with strace on the main thread and its helpers of recovery. Returns daemon, exit code or undef.
sub start_with
{
	my ($trace, @inject) = @_;
	my $own = Hearth::Daemon->prepare(dir => copy_dir($base), args => ['-m', 64, '-t', 1, '--snapshot-interval', 0],
		prefix => ['strace', '-D', '-f', '-qq', '-y', '-o', $trace, @inject]);
	my $code = $own->try_up;
	$own->{prefix} = [];
	return ($own, $code);
}

# [call, number] of all that concern the directory, in the main thread.
sub places
{
	my $trace = scratch_dir() . '/trace';
	my ($own, $code) = start_with($trace, '-e', 'trace=' . join ',', @calls);
	$own->kill9;
	my ($main) = slurp($trace) =~ /^(\d+)/;
	my (%count, @found);
	for (split /\n/, slurp($trace)) {
		my ($thread, $call, $rest) = /^(\d+) +(\w+)\((.*)/ or next;
		next if $thread != $main;
		my $n = ++$count{$call};
		push @found, [$call, $n] if $rest =~ /\Q@{[$own->dir]}\E/;
	}
	remove_dir($own->dir);
	return @found;
}

SKIP: {
	skip 'needs strace', 1 if sanitizer();
	my @places = places();
	cmp_ok(scalar @places, '>', 20, scalar(@places) . ' calls of a start that may fail, each with ' . @errors . ' errors');
	my %seen;
	my $done = $budget->each_case(@places * @errors, sub {
		my ($index) = @_;
		my ($call, $n) = @{ $places[int $index / @errors] };
		my $error = $errors[$index % @errors];
		my $what = "case $index: $call number $n fails with $error";
		my $trace = scratch_dir() . '/trace';
		my ($own, $code) = start_with($trace, '-e', "trace=$call", '-e', "inject=$call:error=$error:when=$n");
		my $book = dclone_for($own);
		my $err = $own->errors;
		if (defined $code) {
			$seen{refused}++;
			$book->problem("$what: ended with $code: $err") unless $documented{$code} && $code;
			my @lines = grep { !/^(?:\S+Z )?hearthd: (?:running as root|data directory |recovered )/ } split /\n/, $err;
			$book->problem("$what: not one line: $err") if @lines != 1;
		} elsif ($err =~ /left out/) {
			$seen{'left out'}++;
			$book->problem("$what: left out what may be whole: $err") unless $error eq 'EIO';
			my $items = $book->read(sort keys %{ $book->{may} });
			for my $key (sort keys %$items) {
				$book->fits($key, $items->{$key}, "$what: after leaving something out");
			}
			$book = undef if !$book->problems;
		} else {
			$seen{served}++;
			$book->verify($what);
			$book->any('k', 20) for 1 .. 4;
		}
		$own->kill9 unless defined $code;
		if ($book) {
			$budget->case($own->dir);
			my $second = $own->try_up;
			$book->problem("$what: the start after it ended with $second: " . $own->errors) if defined $second;
			$book->verify("$what: the start after it") unless defined $second;
			$budget->failed($book->problems, $own->dir) if $book->problems;
			$own->kill9 unless defined $second;
		}
		remove_dir($own->dir);
	});
	note "$done failing calls: " . join ', ', map { "$seen{$_} $_" } sort keys %seen;
}
$budget->report('unusable directories');
done_testing();
