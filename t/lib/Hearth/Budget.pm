# SPDX-License-Identifier: BSD-3-Clause
# The crash harness's book-keeping: how long a driver may run, what it has seen, and how a failing case is repeated.
#
# CHECK_MINUTES is the harness's wall-clock time: 5 in `make check`, 60 in `make check-long`, 2 in a sanitizer's build.
# prove runs a few tests at a time, so the drivers' shares sum to 2. Each ends with one line of `cases, distinct images,
# failures, seed`, and adds it to harness.tsv in the build directory, which t/harness-table sums up.
package Hearth::Budget;
use strict;
use warnings;
use Digest::MD5;
use Exporter 'import';
use Hearth::Process qw(build_dir long_run run sanitizer slurp);
use Test::More;
use Time::HiRes qw(time);

our @EXPORT_OK = qw(image_digest);

# share: of CHECK_MINUTES. all: cases that there are, when that is known (they are then drawn without repetition).
sub new
{
	my ($class, %arg) = @_;
	my $minutes = $ENV{CHECK_MINUTES} // (sanitizer() ? 2 : long_run() ? 60 : 5);
	my $seed = $ENV{HEARTH_SEED} // (time ^ $$ << 8) & 0x7fffffff;
	srand $seed;
	my ($test) = $0 =~ m{([^/]+)$};
	return bless { seed => $seed, test => $test, cases => 0, failures => 0, images => {}, more => 0, only => $ENV{HEARTH_CASE},
		begun => time, end => time + $arg{share} * $minutes * 60 }, $class;
}

sub seed { my ($self) = @_; return $self->{seed}; }
sub left { my ($self) = @_; return time < $self->{end}; }
# Seconds that one part of the work may take: $n, or less near the end.
sub slice { my ($self, $n) = @_; my $left = ($self->{end} - time) / 2; return $left > $n ? $n : $left < 1 ? 1 : $left; }
sub seconds { my ($self) = @_; return time - $self->{begun}; }

# Of the numbered cases 0 .. $n-1, in an order drawn from the seed, those that time allows, at least one; $run gets the
# number. HEARTH_CASE=N runs that one alone. Returns how many were run.
sub each_case
{
	my ($self, $n, $run) = @_;
	my @order = 0 .. $n - 1;
	for my $i (reverse 1 .. $#order) {
		my $j = int rand $i + 1;
		@order[$i, $j] = @order[$j, $i];
	}
	@order = $self->{only} if defined $self->{only};
	my $done = 0;
	for my $case (@order) {
		last if $done && !$self->left;
		$done++;
		srand $self->{seed} + 7919 * $case;
		$self->{case} = $case;
		$run->($case);
	}
	return $done;
}

# Counts a case, and with it the state of the directory that is about to be booted.
sub case
{
	my ($self, $dir) = @_;
	$self->{cases}++;
	$self->image($dir) if defined $dir;
	return;
}
sub image { my ($self, $dir) = @_; $self->{images}{ image_digest($dir) } = 1; return; }
sub cases { my ($self) = @_; return $self->{cases}; }
sub failures { my ($self) = @_; return $self->{failures}; }
sub images { my ($self) = @_; return $self->{more} + keys %{ $self->{images} }; }
# What a program counted by itself.
sub add
{
	my ($self, $cases, $images, $failures) = @_;
	$self->{cases} += $cases;
	$self->{more} += $images;
	$self->{failures} += $failures;
	return;
}

# Names and contents of the files of a data directory.
sub image_digest
{
	my ($dir) = @_;
	my $md5 = Digest::MD5->new;
	for my $file (sort grep { -f } glob "$dir/* $dir/*/*") {
		open my $f, '<:raw', $file or next;
		$md5->add(substr($file, length $dir) . "\0" . (-s $f) . "\0");
		$md5->addfile($f);
	}
	return $md5->digest;
}

# The command that repeats what runs now.
sub repeat
{
	my ($self) = @_;
	my $sanitizer = sanitizer();
	return join ' ', "HEARTH_SEED=$self->{seed}", defined $self->{case} ? "HEARTH_CASE=$self->{case}" : (),
	    build_dir() eq 'build' ? () : "HEARTH_SANITIZER=$sanitizer HEARTH_BUILD=" . build_dir(), "prove -v t/$self->{test}";
}

# A failed case: told at once with what repeats it; HEARTH_KEEP=DIR keeps a copy of the directory.
sub failed
{
	my ($self, $what, $dir) = @_;
	$self->{failures}++;
	return if $self->{failures} > 10;
	diag "$what\n  repeat: " . $self->repeat;
	if ($ENV{HEARTH_KEEP} && defined $dir && -d $dir) {
		my $to = "$ENV{HEARTH_KEEP}/$self->{test}-" . $self->{failures};
		mkdir $ENV{HEARTH_KEEP};
		run(['cp', '-a', $dir, $to]);
		diag "  kept: $to";
	}
	return;
}

# The last test of a driver and its line.
sub report
{
	my ($self, $what) = @_;
	my $line = sprintf '%d cases, %d distinct images, %d failures, seed %d', $self->{cases}, $self->images, $self->{failures},
	    $self->{seed};
	delete $self->{case};
	is($self->{failures}, 0, "$what: $line");
	cmp_ok($self->{cases}, '>', 0, 'cases were run');
	diag "$self->{test}: $line";
	if (open my $f, '>>', build_dir() . '/harness.tsv') {
		print {$f} join("\t", $self->{test}, $self->{cases}, $self->images, $self->{failures}, $self->{seed},
			sprintf('%.0f', $self->seconds), $self->repeat), "\n";
		close $f;
	}
	return;
}

1;
