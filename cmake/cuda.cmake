# The module _cuda. Sets FASTCONV_CUDA_LIBRARY to what it links: fastconv_cuda, fastconv_cuda_emulated, or nothing where there
# is to be no such module.
set(FASTCONV_CUDA AUTO CACHE STRING
    "The CUDA backend: AUTO (where nvcc works and a device is), ON (or fail), OFF, or EMULATED (on the CPU; for tests, see tests/emulation)")
set_property(CACHE FASTCONV_CUDA PROPERTY STRINGS AUTO ON OFF EMULATED)
# Machine code for the A100 and the H100 and H200, and PTX for what else there is.
set(FASTCONV_CUDA_ARCHITECTURES "80;90a-real" CACHE STRING "As CMAKE_CUDA_ARCHITECTURES")

# Sets `result` to whether this machine has a CUDA device, by the driver's own tool, or its files where the tool is missing.
function(fastconv_find_device result)
  set(found FALSE)
  find_program(FASTCONV_NVIDIA_SMI nvidia-smi)
  if(FASTCONV_NVIDIA_SMI)
    execute_process(COMMAND ${FASTCONV_NVIDIA_SMI} -L RESULT_VARIABLE failed OUTPUT_VARIABLE devices ERROR_QUIET)
    if(NOT failed AND devices MATCHES "GPU ")
      set(found TRUE)
    endif()
  else()
    file(GLOB devices /proc/driver/nvidia/gpus/*)
    if(devices)
      set(found TRUE)
    endif()
  endif()
  set(${result} ${found} PARENT_SCOPE)
endfunction()

# Sets `result` to why nvcc cannot be used, or to nothing.
function(fastconv_try_cuda result)
  include(CheckLanguage)
  set(CMAKE_CUDA_HOST_COMPILER ${CMAKE_CXX_COMPILER})
  check_language(CUDA)
  if(NOT CMAKE_CUDA_COMPILER)
    set(${result} "no working nvcc was found (PATH, CUDACXX)" PARENT_SCOPE)
    return()
  endif()
  # As a project of its own: a failure, of enabling the language too, must not end this one.
  set(build ${CMAKE_CURRENT_BINARY_DIR}/cuda_trial)
  execute_process(
    COMMAND ${CMAKE_COMMAND} -S ${PROJECT_SOURCE_DIR}/cmake/cuda_trial -B ${build} -G ${CMAKE_GENERATOR}
            -DCMAKE_MAKE_PROGRAM=${CMAKE_MAKE_PROGRAM} -DCMAKE_CUDA_COMPILER=${CMAKE_CUDA_COMPILER}
            -DCMAKE_CUDA_HOST_COMPILER=${CMAKE_CXX_COMPILER} -DCMAKE_CXX_COMPILER=${CMAKE_CXX_COMPILER}
            "-DCMAKE_CUDA_ARCHITECTURES=${FASTCONV_CUDA_ARCHITECTURES}"
    RESULT_VARIABLE failed OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT failed)
    execute_process(COMMAND ${CMAKE_COMMAND} --build ${build} RESULT_VARIABLE failed OUTPUT_VARIABLE output
                    ERROR_VARIABLE output)
  endif()
  set(${result} "" PARENT_SCOPE)
  if(failed)
    file(WRITE ${build}.log "${output}")
    string(REGEX MATCH "[^\n]*([Ee]rror|[Uu]nsupported)[^\n]*" line "${output}")
    string(STRIP "${line}" line)
    set(${result} "${CMAKE_CUDA_COMPILER} fails to compile for ${FASTCONV_CUDA_ARCHITECTURES}: ${line} (${build}.log)"
        PARENT_SCOPE)
  endif()
endfunction()

set(FASTCONV_CUDA_LIBRARY "")
if(FASTCONV_CUDA STREQUAL "EMULATED")
  if(NOT FASTCONV_TESTS)
    message(FATAL_ERROR "FASTCONV_CUDA=EMULATED is for tests: it needs FASTCONV_TESTS=ON")
  endif()
  set(FASTCONV_CUDA_LIBRARY fastconv_cuda_emulated)
elseif(FASTCONV_CUDA)
  set(device TRUE)
  if(FASTCONV_CUDA STREQUAL "AUTO")
    fastconv_find_device(device)
  endif()
  if(device)
    fastconv_try_cuda(problem)
  else()
    set(problem "this machine has no CUDA device; FASTCONV_CUDA=ON builds it all the same")
  endif()
  if(NOT problem)
    set(FASTCONV_CUDA_LIBRARY fastconv_cuda)
  elseif(FASTCONV_CUDA STREQUAL "AUTO" AND NOT CMAKE_CUDA_COMPILER)
    message(STATUS "fastconv is built without CUDA: ${problem}")
  elseif(FASTCONV_CUDA STREQUAL "AUTO")
    message(WARNING "fastconv is built without CUDA: ${problem}")
  else()
    message(FATAL_ERROR "FASTCONV_CUDA=${FASTCONV_CUDA}: ${problem}")
  endif()
endif()

if(FASTCONV_CUDA_LIBRARY STREQUAL "fastconv_cuda")
  set(CMAKE_CUDA_HOST_COMPILER ${CMAKE_CXX_COMPILER})
  set(CMAKE_CUDA_ARCHITECTURES ${FASTCONV_CUDA_ARCHITECTURES})
  set(CMAKE_CUDA_FLAGS_RELEASE "-O3 -DNDEBUG")
  enable_language(CUDA)
  find_package(CUDAToolkit REQUIRED)
  file(GLOB FASTCONV_CUDA_SOURCES CONFIGURE_DEPENDS src/cuda/*.cc src/cuda/*.cu src/cuda/kernels/*.cc src/cuda/kernels/*.cu)
  add_library(fastconv_cuda STATIC ${FASTCONV_CUDA_SOURCES})
  target_include_directories(fastconv_cuda PUBLIC include src src/cuda/ptx)
  set_target_properties(fastconv_cuda PROPERTIES CUDA_STANDARD 20 CUDA_STANDARD_REQUIRED ON CUDA_VISIBILITY_PRESET hidden)
  # 9.0 without the "a" lacks the kernels with wgmma.
  if(FASTCONV_CUDA_ARCHITECTURES MATCHES "90a")
    target_compile_definitions(fastconv_cuda PRIVATE FASTCONV_SM90A)
  endif()
  list(JOIN FASTCONV_WARNINGS "," host_warnings)
  target_compile_options(fastconv_cuda PRIVATE
    $<$<COMPILE_LANGUAGE:CXX>:${FASTCONV_WARNINGS}>
    $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=${host_warnings}>
    # With spilled registers counted as warnings.
    "$<$<AND:$<COMPILE_LANGUAGE:CUDA>,$<BOOL:${FASTCONV_WERROR}>>:-Werror=all-warnings;-Xptxas=-warn-spills,-Werror>")
  # So is local memory, but where CUDA's sin and cos of large numbers take it.
  set(kernels ${FASTCONV_CUDA_SOURCES})
  list(FILTER kernels INCLUDE REGEX "\\.cu$")
  list(FILTER kernels EXCLUDE REGEX "/pointwise\\.cu$")
  set_source_files_properties(${kernels} PROPERTIES COMPILE_OPTIONS "$<$<BOOL:${FASTCONV_WERROR}>:-Xptxas=-warn-lmem-usage>")
  target_link_libraries(fastconv_cuda PUBLIC CUDA::cudart_static)
endif()
