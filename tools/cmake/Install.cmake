# `cmake --install build/release --prefix /usr/local`
include(GNUInstallDirs)
install(TARGETS vmswapd RUNTIME DESTINATION ${CMAKE_INSTALL_SBINDIR})
install(TARGETS vmswapctl vmswap-run vmswap-guest vmswap-bench RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS vmswap_client vmswap_client_shared
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES ctl/client/vmswap.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES ctl/vmswapd.8 DESTINATION ${CMAKE_INSTALL_MANDIR}/man8)
install(FILES tools/vmswapctl/vmswapctl.1 ctl/run/vmswap-run.1 perf/vmswap-bench.1
  DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES tools/vmswapd.service DESTINATION lib/systemd/system)
