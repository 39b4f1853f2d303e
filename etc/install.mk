# SPDX-License-Identifier: BSD-3-Clause
# make install, uninstall, deb. Everything that is installed is a row of INSTALLED, mode:source:target, so that uninstall
# takes away exactly that. What names places is made anew each time: the places may be others than last time.

SBINDIR       = $(PREFIX)/sbin
BINDIR        = $(PREFIX)/bin
LIBDIR       ?= $(PREFIX)/lib
SHAREDIR      = $(PREFIX)/share
SYSUSERSDIR  ?= $(PREFIX)/lib/sysusers.d
TMPFILESDIR  ?= $(PREFIX)/lib/tmpfiles.d
COMPLETIONS   = $(SHAREDIR)/bash-completion/completions
PLACED        = $(BUILD)/placed
UNITS_OF_SYSTEMD = hearthd.service hearthd@.service hearthd.socket
EXAMPLES      = $(wildcard etc/grafana-dashboard.json etc/hearth-alerts.yml)

INSTALLED = 755:$(BUILD)/hearthd:$(SBINDIR)/hearthd \
	755:$(BUILD)/hearth:$(BINDIR)/hearth \
	644:$(BUILD)/libhearth.a:$(LIBDIR)/libhearth.a \
	644:$(PLACED)/hearth.pc:$(LIBDIR)/pkgconfig/hearth.pc \
	$(foreach f,$(notdir $(wildcard include/hearth/*.h)),644:include/hearth/$(f):$(PREFIX)/include/hearth/$(f)) \
	$(foreach s,$(SECTIONS),$(foreach f,$(notdir $(wildcard man/*.$(s))),644:man/$(f):$(MANDIR)/man$(s)/$(f))) \
	$(foreach u,$(UNITS_OF_SYSTEMD),644:$(PLACED)/$(u):$(UNITDIR)/$(u)) \
	644:etc/hearth.sysusers:$(SYSUSERSDIR)/hearth.conf \
	644:etc/hearth.tmpfiles:$(TMPFILESDIR)/hearth.conf \
	644:etc/completion.bash:$(COMPLETIONS)/hearth \
	644:etc/completion.bash:$(COMPLETIONS)/hearthd \
	$(foreach f,$(EXAMPLES),644:$(f):$(SHAREDIR)/hearth/$(notdir $(f)))
# A configuration that is there already is somebody's: it is neither overwritten nor, unless it is as it came, removed.
CONFIG = $(wildcard etc/hearth.conf)
CONFIG_TARGET = $(SYSCONFDIR)/hearth/hearth.conf

part    = $(word $(2),$(subst :, ,$(1)))
targets = $(foreach row,$(INSTALLED),$(call part,$(row),3))
# DESTDIR may hold blanks; the places below it cannot, as make's lists and rows end at blanks and colons.
staged  = $(foreach place,$(1),'$(subst ','\'',$(DESTDIR))$(place)')
space   = $(subst x,,x x)
places  = $(PREFIX)$(SYSCONFDIR)$(UNITDIR)$(MANDIR)$(SBINDIR)$(BINDIR)$(LIBDIR)$(SYSUSERSDIR)$(TMPFILESDIR)$(BUILD)
whole   = $(if $(findstring $(space),$(places))$(findstring :,$(places)),$(error PREFIX, SYSCONFDIR, UNITDIR and BUILD: no blanks or colons, please))

placed:
	@mkdir -p $(PLACED)
	for f in $(UNITS_OF_SYSTEMD) hearth.pc; do \
		sed -e 's|@SBINDIR@|$(SBINDIR)|g' -e 's|@SYSCONFDIR@|$(SYSCONFDIR)|g' -e 's|@PREFIX@|$(PREFIX)|g' \
			-e 's|@LIBDIR@|$(LIBDIR)|g' -e 's|@VERSION@|$(VERSION)|g' etc/$$f >$(PLACED)/$$f || exit; done

install: all placed
	$(call whole)$(foreach row,$(INSTALLED),install -D -m $(call part,$(row),1) $(call part,$(row),2) $(call staged,$(call part,$(row),3)) &&) true
	$(if $(CONFIG),test -e $(call staged,$(CONFIG_TARGET)) || install -D -m 644 $(CONFIG) $(call staged,$(CONFIG_TARGET)))

# Data directories stay, and so does the user.
uninstall:
	$(call whole)rm -f $(call staged,$(targets))
	$(if $(CONFIG),if cmp -s $(CONFIG) $(call staged,$(CONFIG_TARGET)); then rm -f $(call staged,$(CONFIG_TARGET)); fi)
	-rmdir --ignore-fail-on-non-empty $(call staged,$(sort $(filter %/hearth,$(patsubst %/,%,$(dir $(targets)))))) \
		$(call staged,$(patsubst %/,%,$(dir $(CONFIG_TARGET)))) 2>/dev/null

# Packages for Debian, in $(BUILD)/deb: etc/debian belongs at the top of the tree that it builds, so that is a copy.
deb:
	etc/install-packages --only build package
	etc/build-deb $(BUILD)/deb $(VERSION)

.PHONY: placed install uninstall deb
