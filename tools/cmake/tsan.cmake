# Lets ThreadSanitizer see absl::Mutex and absl::CondVar: see tsan_mutex.cc. Included by the tsan preset's builds only.
add_library(walferry_tsan_mutex STATIC ${CMAKE_CURRENT_LIST_DIR}/tsan_mutex.cc)
target_link_libraries(walferry_tsan_mutex PUBLIC absl::synchronization)
foreach(symbol
    _ZN4absl7debian35Mutex4LockEv
    _ZN4absl7debian35Mutex7TryLockEv
    _ZN4absl7debian35Mutex6UnlockEv
    _ZN4absl7debian37CondVar4WaitEPNS0_5MutexE
    _ZN4absl7debian37CondVar15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE
    _ZN4absl7debian37CondVar16WaitWithDeadlineEPNS0_5MutexENS0_4TimeE)
  target_link_options(walferry_tsan_mutex INTERFACE LINKER:--wrap=${symbol})
endforeach()
link_libraries(walferry_tsan_mutex)
