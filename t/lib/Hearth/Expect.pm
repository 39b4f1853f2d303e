# SPDX-License-Identifier: BSD-3-Clause
# What may be found in an image that build/crash/images has exported: DIR/expect, whose lines t/crash/expect.c describes.
# The history is that of one cache; what is found must be its state after some op of the range.
package Hearth::Expect;
use strict;
use warnings;
use Hearth::Process qw(slurp);

sub read
{
	my ($class, $file) = @_;
	my $self = bless { keys => [], flush => [] }, $class;
	for (split /\n/, slurp($file)) {
		my ($word, @rest) = split / /;
		if ($word eq 'range') {
			@$self{qw(least most holes)} = @rest;
		} elsif ($word eq 'key') {
			push @{ $self->{keys} }, { name => $rest[1], versions => [] };
		} elsif ($word eq 'v') {
			my ($from, $to, $flags, $expiry, $cas, $hex) = @rest;
			push @{ $self->{keys}[-1]{versions} }, { from => $from, to => $to, flags => $flags, expiry => $expiry,
				cas => $cas, value => $hex eq '-' ? '' : pack 'H*', $hex };
		} elsif ($word eq 'none') {
			push @{ $self->{keys}[-1]{versions} }, { from => $rest[0], to => $rest[1], none => 1 };
		} elsif ($word eq 'flush') {
			push @{ $self->{flush} }, { from => $rest[0], to => $rest[1], due => $rest[2] };
		} else {
			$self->{$word} = join ' ', @rest;
		}
	}
	return $self;
}

sub names { my ($self) = @_; return map { $_->{name} } @{ $self->{keys} }; }

# Ops of the range behind which a pending flush is due at this time: everything has gone then.
sub _flushed
{
	my ($self, $now) = @_;
	my %flushed;
	for my $f (grep { $_->{due} && $_->{due} <= $now } @{ $self->{flush} }) {
		$flushed{$_} = 1 for $f->{from} .. $f->{to};
	}
	return \%flushed;
}

sub _fits
{
	my ($version, $item, $now) = @_;
	my $live = !$version->{none} && !($version->{expiry} && $version->{expiry} <= $now);
	return !$item == !$live unless $item && $live;
	return $item->{value} eq $version->{value} && $item->{flags} == $version->{flags} && $item->{cas} == $version->{cas};
}

# Which op's state the found items are, at this time; or undef and why not. items: name to { value, flags, cas }.
sub judge
{
	my ($self, $items, $now) = @_;
	my $flushed = $self->_flushed($now);
	my %state = map { $_ => 1 } $self->{least} .. $self->{most};
	for my $key (@{ $self->{keys} }) {
		my $item = $items->{ $key->{name} };
		next if $self->{holes} && !$item;
		my %fits = $item ? () : %$flushed;
		for my $version (grep { _fits($_, $item, $now) } @{ $key->{versions} }) {
			$fits{$_} = 1 for grep { !$item || !$flushed->{$_} } $version->{from} .. $version->{to};
		}
		delete @state{ grep { !$fits{$_} } keys %state };
		return (undef, sprintf '%s is %s, which fits no state from %d to %d', $key->{name},
			$item ? "'" . substr($item->{value}, 0, 20) . "' cas $item->{cas}" : 'missing', $self->{least}, $self->{most})
		    unless %state;
	}
	return ((sort { $b <=> $a } keys %state)[0], '');
}

1;
